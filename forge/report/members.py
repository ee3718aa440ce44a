"""Read what lies beside a step's tables: figures, curves, pictures, receipts, records in JSON lines."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import StoreError
from forge.report.charts import Bars, Curve, bars_of, curve_of
from forge.report.samples import Row, row_of
from forge.report.words import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forge.core.artifact import Tree
    from forge.store.base import Store

_MOST_PICTURE = 400_000
_MOST_LINES = 20_000_000
_MOST_JSON = 2_000_000
_FIGURES = ("stats.json", "metrics.json", "trainer.json")
_RECEIPT = "receipt.json"
TRACE = "metrics.jsonl"
"""What a run may leave beside its log, a point a line."""
_STEP = "step"
_BESIDE = ("step", "samples", "epoch", "tokens", "at")
"""Keys of a curve's points that say where it is and are no line of their own."""
_SHOWN_FILES = 40
_RECORDS = 3


@attrs.frozen
class Figures:
    """Hold a JSON member: single figures, counts as bars, and members of the same kind below it."""

    title: str
    single: Sequence[tuple[str, str]]
    counts: Sequence[tuple[str, Bars]]
    below: Sequence[Figures] = ()


@attrs.frozen
class Finding:
    """Hold one figure of a receipt beside its bound."""

    name: str
    value: str
    bound: str
    passed: bool
    detail: str


@attrs.frozen
class Receipt:
    """Hold a check's findings and the digests of what it judged."""

    passed: bool
    findings: Sequence[Finding]
    subjects: Sequence[tuple[str, str]]

    @property
    def bounded(self) -> int:
        """Return how many findings have a bound."""
        return sum(bool(finding.bound) for finding in self.findings)

    @property
    def within(self) -> int:
        """Return how many findings are within their bounds."""
        return sum(finding.passed for finding in self.findings if finding.bound)


@attrs.frozen
class File:
    """Hold a member's name, its size in bytes and its digest."""

    name: str
    size: int
    digest: str


@attrs.frozen
class Members:
    """Hold all that lies beside tables; ``damaged`` names what could not be read."""

    figures: Sequence[Figures] = ()
    curves: Sequence[Curve] = ()
    pictures: Sequence[tuple[str, str]] = ()
    receipt: Receipt | None = None
    records: Sequence[tuple[str, Sequence[Row]]] = ()
    files: Sequence[File] = ()
    more_files: int = 0
    damaged: Sequence[str] = ()


@attrs.define
class _Reader:
    store: Store
    figures: list[Figures] = attrs.Factory(list)
    curves: list[Curve] = attrs.Factory(list)
    pictures: list[tuple[str, str]] = attrs.Factory(list)
    records: list[tuple[str, Sequence[Row]]] = attrs.Factory(list)
    receipt: Receipt | None = None

    def read(self, name: str, data: bytes) -> None:
        last = name.rpartition("/")[2]
        if name == _RECEIPT:
            self.receipt = receipt_of(json.loads(data))
        elif last in _FIGURES:
            self.figures.append(figures_of(name, json.loads(data)))
        elif name.endswith(".png"):
            self.pictures.append((name, "data:image/png;base64," + base64.b64encode(data).decode()))
        else:
            entries = [json.loads(line) for line in data.splitlines() if line.strip()]
            dicts = [entry for entry in entries if isinstance(entry, dict)]
            if dicts and all(_number(entry.get(_STEP)) for entry in dicts):
                self.curves += curves_of(dicts)
            elif dicts:
                shown = [row_of(entry, f"record {n}") for n, entry in enumerate(dicts[:_RECORDS], start=1)]
                self.records.append((f"{name}: {len(dicts):,} records", shown))


def members_of(store: Store, tree: Tree) -> Members:
    """Read a tree's members that can be shown; one that is damaged is named, and ends nothing."""
    reader, damaged = _Reader(store), []
    for name, member in sorted(tree.members.items()):
        if member.size > _limit(name):
            continue
        try:
            reader.read(name, store.read_object(member))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError):
            damaged.append(name)
    listed = sorted(tree.members.items())
    return Members(
        reader.figures,
        reader.curves,
        reader.pictures,
        reader.receipt,
        reader.records,
        [File(name, member.size, member.digest) for name, member in listed[:_SHOWN_FILES]],
        max(0, len(listed) - _SHOWN_FILES),
        damaged,
    )


def _limit(name: str) -> int:
    """Return the bytes up to which a member is read; -1 for one that is never read."""
    if name == _RECEIPT or name.rpartition("/")[2] in _FIGURES:
        return _MOST_JSON
    return {"png": _MOST_PICTURE, "jsonl": _MOST_LINES}.get(name.rpartition(".")[2], -1)


def receipt_of(value: Mapping[str, Any]) -> Receipt:
    """Return a receipt as it is shown."""
    findings = [
        Finding(str(f["name"]), figure(f["value"]), _bound(f), bool(f["passed"]), str(f.get("detail") or ""))
        for f in value["findings"]
    ]
    return Receipt(bool(value["passed"]), findings, [(str(n), str(d)) for n, d in value.get("subjects", {}).items()])


def with_measured(receipt: Receipt | None, measured: Mapping[str, float]) -> Receipt | None:
    """Return a receipt with what was measured on the machine that it was made on."""
    if receipt is None or not measured:
        return receipt
    more = [Finding(name, figure(value), "", passed=True, detail="") for name, value in measured.items()]
    return attrs.evolve(receipt, findings=[*receipt.findings, *more])


def _bound(finding: Mapping[str, Any]) -> str:
    return "" if finding.get("bound") is None else figure(finding["bound"])


def figures_of(title: str, value: Any) -> Figures:
    """Sort a JSON value into single figures, counts and what lies deeper."""
    if not isinstance(value, dict):
        return Figures(title, [("", _short(value))], ())
    single, counts, below = [], [], []
    for name, entry in value.items():
        if isinstance(entry, dict) and len(entry) > 1 and all(_whole(count) for count in entry.values()):
            counts.append((str(name), bars_of(_in_order({str(k): v for k, v in entry.items()}))))
        elif isinstance(entry, dict) and entry:
            below.append(figures_of(str(name), entry))
        else:
            single.append((str(name), _short(entry)))
    return Figures(title, single, counts, below)


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return numbers in their own order, and words by how often they stand."""
    if all(name.lstrip("-").isdecimal() for name in counts):
        return {name: counts[name] for name in sorted(counts, key=int)}
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def training_points(store: Store, tree: Tree) -> list[dict[str, Any]]:
    """Return the points of the training run that a tree holds, from the first member that has any."""
    for name, member in sorted(tree.members.items()):
        if name.endswith(".jsonl") and member.size <= _MOST_LINES:
            with suppress(OSError, StoreError):
                if points := _points(store.read_object(member)):
                    return points
    return []


def timings(store: Store, key: str, points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the run of action *key* wrote beside its log and *points*, its curve, does not hold.

    Figures that differ from run to run, such as tokens a second, are no part of an artifact. Of a step that was done
    again after an interruption the last counts.
    """
    known = {name for point in points for name in point if name != _STEP}
    try:
        data = (store.root / "logs" / key / TRACE).read_bytes()
    except OSError:
        return []
    last = {point[_STEP]: point for point in _points(data)}
    return [{name: last[step][name] for name in last[step] if name not in known} for step in sorted(last)]


def _points(data: bytes) -> list[dict[str, Any]]:
    """Return the points of JSON lines that each say their step; none of other lines."""
    try:
        entries = [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError:
        return []
    return entries if all(isinstance(each, dict) and _number(each.get(_STEP)) for each in entries) else []


def overlaid(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Curve]:
    """Return a chart of each figure, with a line for each of several training runs."""
    names = dict.fromkeys(name for points in runs.values() for p in points for name, v in p.items() if _number(v))
    charts = [
        curve_of(
            name.replace("_", " "),
            {run: [(p[_STEP], p[name]) for p in points if _number(p.get(name))] for run, points in runs.items()},
        )
        for name in sorted(names, key=lambda n: (n != "eval_loss", n != "loss"))
        if name not in _BESIDE
    ]
    return [chart for chart in charts if chart is not None]


def curves_of(points: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """Return charts of a training run's points: all losses in one, each other figure in its own."""
    names = dict.fromkeys(name for point in points for name, value in point.items() if _number(value))
    groups: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda n: n != "loss"):
        if name not in _BESIDE:
            groups.setdefault("loss" if name.endswith("loss") else name, []).append(name)
    charts = [
        curve_of(
            title.replace("_", " "),
            {name.replace("_", " "): [(p[_STEP], p[name]) for p in points if _number(p.get(name))] for name in lines},
        )
        for title, lines in groups.items()
    ]
    return [chart for chart in charts if chart is not None]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return figure(value)
