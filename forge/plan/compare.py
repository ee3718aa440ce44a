"""Compare two builds by what the store keeps of them: steps, keys, files, rows, labels and figures."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge.core.errors import StoreError
from forge.plan.explain import Names, differences
from forge.plan.forecast import forecast
from forge.plan.rows import STATES, RowChanges, distributions, new_columns, row_changes
from forge.plugin.table import TABLE
from forge.store.actions import Actions
from forge.store.signatures import build_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from forge.core.artifact import Member, Tree
    from forge.core.record import Record
    from forge.plan.graph import Graph
    from forge.store.base import Store

FIGURES = ("stats.json", "metrics.json", "receipt.json")
_LABELER = "labeler"

Same = Literal["equal", "equal result", "changed", "only a", "only b", "not built"]
Figure = int | float | bool | None


@attrs.frozen
class Side:
    """Hold one of two builds: the record of each step, or why there is none."""

    store: Store
    records: Mapping[str, Record]
    missing: Mapping[str, str] = attrs.Factory(dict)

    @classmethod
    def now(cls, graph: Graph, store: Store) -> Side:
        """Return what the store has of a manifest as it is."""
        entries = forecast(graph, store)
        records = {name: e.record for name, e in entries.items() if e.record is not None}
        return cls(store, records, {name: e.because for name, e in entries.items() if e.record is None})

    @classmethod
    def last(cls, graph: Graph, store: Store) -> Side:
        """Return what the steps of a manifest were when they were last built."""
        actions = Actions(store)
        keys = actions.last(build_name(graph.manifest.name, graph.manifest.path))
        found = {name: actions.find(key) for name, key in keys.items() if name in graph.steps}
        records = {name: record for name, record in found.items() if record is not None}
        gone = {n: "its last result is no longer in the store" for n in found if n not in records}
        never = {n: "never built" for n in graph.steps if n not in keys}
        return cls(store, records, gone | never)

    @property
    def steps(self) -> list[str]:
        """Return the names of all steps."""
        return [*self.records, *self.missing]

    def tree(self, step: str) -> Tree:
        """Return a step's artifact."""
        return self.store.tree(self.records[step].tree)


@attrs.frozen
class StepChange:
    """Hold how one step of two builds differs.

    ``because`` lists the parts of the key that moved, or why a side is not built; ``files`` maps ``added``,
    ``removed`` and ``changed`` to names; ``tables`` maps parts to the changes of their rows; ``labels`` maps columns
    to how often each value stood and stands there; ``figures`` maps paths (``metrics.json: loss``) to both values.
    """

    name: str
    same: Same
    because: Sequence[str] = ()
    rows: tuple[int | None, int | None] = (None, None)
    files: Mapping[str, Sequence[str]] = attrs.Factory(dict)
    tables: Mapping[str, RowChanges] = attrs.Factory(dict)
    labels: Mapping[str, Mapping[str, tuple[int, int]]] = attrs.Factory(dict)
    figures: Mapping[str, tuple[Figure, Figure]] = attrs.Factory(dict)


def compare(a: Side, b: Side) -> list[StepChange]:
    """Return how each step of *a* and *b* differs, in the order of *b*, what is in *a* alone last."""
    there, here = set(a.steps), set(b.steps)
    names = sorted(here, key=b.steps.index) + [name for name in a.steps if name not in here]
    return [
        StepChange(name, "only b" if name in here else "only a", rows=_rows(a, b, name))
        if (name in here) != (name in there)
        else _step(a, b, name)
        for name in names
    ]


def _step(a: Side, b: Side, name: str) -> StepChange:
    missing = [f"{letter}: {side.missing[name]}" for letter, side in (("A", a), ("B", b)) if name in side.missing]
    if missing:
        return StepChange(name, "not built", missing, _rows(a, b, name))
    old, new = a.records[name], b.records[name]
    if old.key == new.key and old.tree == new.tree:
        return StepChange(name, "equal", rows=_rows(a, b, name))
    because = moved(new, old, b.store, a.store)
    if old.tree == new.tree:
        return StepChange(name, "equal result", because, _rows(a, b, name))
    return StepChange(
        name,
        "changed",
        because or ["the same key made other bytes"],
        _rows(a, b, name),
        _files(a.tree(name).members, b.tree(name).members),
        _tables(a, b, name),
        _labels(a, b, name),
        _figures(a, b, name),
    )


def moved(new: Record, old: Record, *stores: Store) -> list[str]:
    """Return the parts of the key that differ, as closely as the records and the *stores* can name them."""

    def tree(digest: str) -> Tree | None:
        for store in stores:
            with suppress(StoreError):
                return store.tree(digest)
        return None

    source = new.kind == "source" and len(new.action.get("files", {})) == 1
    names = Names(tree, new.step if source else "", list(new.inputs), {}, new.code, old.code if new.code else {})
    return differences(new.action, old.action, names)


def _rows(a: Side, b: Side, name: str) -> tuple[int | None, int | None]:
    old, new = a.records.get(name), b.records.get(name)
    return (old.rows_out if old else None, new.rows_out if new else None)


def _files(old: Mapping[str, Member], new: Mapping[str, Member]) -> dict[str, list[str]]:
    found = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(n for n in old.keys() & new.keys() if old[n].digest != new[n].digest),
    }
    return {what: names for what, names in found.items() if names}


def _tables(a: Side, b: Side, name: str) -> dict[str, RowChanges]:
    found = {}
    for part in dict.fromkeys((*a.records[name].rows, *b.records[name].rows)):
        old, new = a.tree(name).part(part).members.get(TABLE), b.tree(name).part(part).members.get(TABLE)
        if old is not None and new is not None and old.digest != new.digest:
            found[part] = row_changes(a.store.object_path(old.digest), b.store.object_path(new.digest))
    return found


def label_counts(store: Store, record: Record) -> dict[str, dict[str, int]]:
    """Return how often each label, state and source stands in what a labeler made."""
    table = _table(store, record.tree)
    if record.kind != _LABELER or table is None:
        return {}
    inputs = [path for digest in record.inputs.values() if (path := _table(store, digest)) is not None]
    return distributions(table, new_columns(inputs[0], table) if inputs else STATES)


def _table(store: Store, digest: str) -> Path | None:
    """Return where the table of an artifact lies, if it has one and the store has both."""
    tree = store.complete(digest)
    member = tree.members.get(TABLE) if tree is not None else None
    return store.object_path(member.digest) if member is not None else None


def _labels(a: Side, b: Side, name: str) -> dict[str, dict[str, tuple[int, int]]]:
    old, new = label_counts(a.store, a.records[name]), label_counts(b.store, b.records[name])
    found = {}
    for column in dict.fromkeys((*old, *new)):
        was, now = old.get(column, {}), new.get(column, {})
        if was != now:
            found[column] = {v: (was.get(v, 0), now.get(v, 0)) for v in dict.fromkeys((*was, *now))}
    return found


def _figures(a: Side, b: Side, name: str) -> dict[str, tuple[Figure, Figure]]:
    old, new = figures_of(a, name), figures_of(b, name)
    both = {path: (old.get(path), new.get(path)) for path in dict.fromkeys((*old, *new))}
    return {path: pair for path, pair in both.items() if pair[0] != pair[1]}


def figures_of(side: Side, name: str) -> dict[str, Figure]:
    """Return every number in a step's statistics, metrics and receipt, by its path."""
    found: dict[str, Figure] = {}
    for path, member in sorted(side.tree(name).members.items()):
        if path.rpartition("/")[2] in FIGURES:
            try:
                value = json.loads(side.store.read_object(member))
            except ValueError:
                continue  # not one of ours: the member is among the changed files
            _flatten(value, f"{path}: ", found)
    return found


def _flatten(value: Any, path: str, found: dict[str, Figure]) -> None:
    if isinstance(value, int | float):
        found[path.removesuffix(".")] = value
    elif isinstance(value, dict):
        # a finding is a name with its figures
        for key, entry in value.items():
            _flatten(entry, f"{path}{key}.", found)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            named = entry.get("name") if isinstance(entry, dict) else None
            _flatten(entry, f"{path}{named if isinstance(named, str) else index}.", found)
