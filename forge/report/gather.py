"""Gather what the store has of a manifest, step by step."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import StoreError
from forge.plan.forecast import forecast
from forge.plugin.table import TABLE
from forge.report import flow, graph
from forge.report.content import Reason, Report, StepReport, SweepReport, Table
from forge.report.members import (
    Receipt,
    curves_of,
    members_of,
    overlaid,
    receipt_of,
    timings,
    training_points,
    with_measured,
)
from forge.report.samples import Change, changes_of, rows_of
from forge.report.sweeps import compare
from forge.report.tables import columns_of
from forge.report.words import figure, unplaced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.core.step import Step
    from forge.plan.forecast import Forecast
    from forge.plan.graph import Graph
    from forge.plan.sweep import Sweep
    from forge.store.base import Store

_LINES = 8
"""Training runs of a sweep that stand in one picture, the best of them."""
_MARKS = re.compile(r"`{1,2}([^`]+)`{1,2}|\*(\w+)\*")


def gather(found: Graph, store: Store) -> Report:
    """Return what the store has of *found*, with nothing in it that depends on this machine or the clock."""
    entries = forecast(found, store)
    manifest = found.manifest
    places = (str(manifest.root.resolve()), str(manifest.root), str(store.root))
    records = {name: entry.record or entry.last for name, entry in entries.items()}
    steps = [
        _Gathering(store, entry, records, lambda text: unplaced(text, places)).report() for entry in entries.values()
    ]
    return Report(
        manifest.name,
        manifest.path.name,
        steps,
        _graph(entries, found.sweeps),
        flow.draw([rows for entry in entries.values() if (rows := _rows(entry.step, records)) is not None]),
        [_sweep(sweep, entries, records, store) for sweep in found.sweeps.values()],
    )


def _graph(entries: Mapping[str, Forecast], sweeps: Mapping[str, Sweep]) -> graph.Picture:
    """Draw the steps, of a sweep one box for all its points."""
    stands: dict[str, str] = {}
    called = {}
    for sweep in sweeps.values():
        first = sweep.name if sweep.name in entries else sweep.points[0].step
        stands |= {point.step: first for point in sweep.points}
        called[first] = f"{sweep.name} × {len(sweep.points)}"
    needs: dict[str, dict[str, None]] = {}
    for name, entry in entries.items():
        box = stands.get(name, name)
        before = (stands.get(need, need) for need in entry.step.needs)
        needs.setdefault(box, {}).update(dict.fromkeys(need for need in before if need != box))
    return graph.draw(needs, called)


def _sweep(
    sweep: Sweep, entries: Mapping[str, Forecast], records: Mapping[str, Record | None], store: Store
) -> SweepReport:
    found = compare(sweep, records, {name: entry.will == "hit" for name, entry in entries.items()}, store)
    runs = {}
    for point in found.ranked:
        record = records.get(point.step)
        tree = store.complete(record.tree) if record is not None else None
        if record is not None and tree is not None and (points := training_points(store, tree)):
            runs[point.label] = [*points, *timings(store, record.key, points)]
    shown = dict(list(runs.items())[:_LINES])
    return SweepReport(sweep.name, found, overlaid(shown), len(runs) - len(shown))


@attrs.frozen
class _Gathering:
    store: Store
    entry: Forecast
    records: Mapping[str, Record | None]
    plain: Callable[[str], str]

    def report(self) -> StepReport:
        step, record = self.entry.step, self.records[self.entry.step.name]
        failed = self._failed()
        about = (type(step.instance).__doc__ or "").strip().partition("\n\n")[0]
        known = StepReport(
            name=step.name,
            kind=step.kind,
            use=step.use,
            about=" ".join(_MARKS.sub(lambda m: m[1] or m[2], about).split()),
            state=self._state(failed, record),
            because=self.plain(self.entry.because),
            inputs=[(i.reference, i.step) for i in step.inputs],
            parameters=[(name, self.plain(_value(value))) for name, value in sorted(step.params.items())],
            facts=[(name, self.plain(str(value))) for name, value in sorted(step.facts.items())],
            files=[(name, f"{len(files)} file{'s' if len(files) != 1 else ''}") for name, files in step.files.items()],
            record=record,
            receipt=failed,
        )
        return known if record is None else self._built(known, record)

    def _state(self, failed: Receipt | None, record: Record | None) -> str:
        if self.entry.will == "hit":
            return "built"
        return "failed" if failed is not None else "stale" if record is not None else "not built"

    def _failed(self) -> Receipt | None:
        """Return the receipt of a check that failed on what there is now."""
        path = self.store.root / "builds" / "failed" / f"{self.entry.key}.json"
        if self.entry.will == "hit" or self.entry.key is None or not path.is_file():
            return None
        return receipt_of(json.loads(path.read_text(encoding="utf-8")))

    def _built(self, known: StepReport, record: Record) -> StepReport:
        drops = sorted(record.drops.items(), key=lambda item: (-item[1], item[0]))
        tree = self.store.complete(record.tree)
        known = attrs.evolve(
            known,
            gone=tree is None,
            reasons=[Reason(r, n, [self.plain(e) for e in record.examples.get(r, ())]) for r, n in drops],
            inside=sorted(record.tallies.items(), key=lambda item: (-item[1], item[0])),
            warnings=[self.plain(warning) for warning in record.warnings],
        )
        if tree is None:
            return known
        members = members_of(self.store, tree)
        timed = curves_of(timings(self.store, record.key, training_points(self.store, tree)))
        tables, damaged = self._tables(record, tree)
        return attrs.evolve(
            known,
            tables=tables,
            changes=[] if damaged else self._changes(record, tree),
            members=attrs.evolve(members, curves=[*members.curves, *timed], damaged=[*members.damaged, *damaged]),
            receipt=known.receipt or with_measured(members.receipt, record.measured),
        )

    def _tables(self, record: Record, tree: Tree) -> tuple[list[Table], list[str]]:
        """Return the tables of a step, the largest first, and the names of those whose bytes are not theirs."""
        tables, damaged = [], []
        for part, rows in sorted(record.rows.items(), key=lambda item: (-item[1], item[0])):
            member = tree.part(part).members.get(TABLE)
            if member is None:
                continue
            try:
                self.store.check_object(member.digest)
            except StoreError:
                damaged.append(f"{part}/{TABLE}" if part else TABLE)
                continue
            path = self.store.object_path(member.digest)
            tables.append(Table(part, rows, columns_of(path), rows_of(path)))
        return tables, damaged

    def _changes(self, record: Record, tree: Tree) -> list[Change]:
        after = self._table(tree)
        if after is None or record.kind == "source":
            return []
        befores = []
        for each in self.entry.step.inputs:
            before = self.records.get(each.step)
            whole = self.store.complete(before.tree) if before is not None else None
            part = whole.part(each.part) if whole is not None else None
            # an input that was rebuilt since is not what these rows were made of
            if part is not None and part.digest == record.inputs.get(each.name) and (path := self._table(part)):
                befores.append(path)
        return changes_of(befores, after) if befores else []

    def _table(self, tree: Tree) -> Path | None:
        member = tree.members.get(TABLE)
        return self.store.object_path(member.digest) if member is not None else None


def _rows(step: Step, records: Mapping[str, Record | None]) -> flow.Rows | None:
    """Return a step's part in the flow of rows; None for one that neither takes nor makes any."""
    record = records[step.name]
    if record is None or (record.rows_in is None and not record.rows):
        return None
    sources = []
    for each in step.inputs:
        before = records.get(each.step)
        if before is not None and each.part in before.rows:
            sources.append((each.step, each.part, before.rows[each.part]))
    parts = dict(record.rows)
    return flow.Rows(step.name, record.rows_in or 0, parts, sum(record.drops.values()), sources)


def _value(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return figure(value) if isinstance(value, bool) or value is None else str(value)
