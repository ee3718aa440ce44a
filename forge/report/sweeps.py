"""Compare the points of a sweep: what was swept, and the figures that each point states."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.errors import StoreError
from forge.plugin.context import FIGURES, figures_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forge.core.record import Record
    from forge.plan.sweep import Sweep
    from forge.store.base import Store


@attrs.frozen
class PointReport:
    """Hold one point: its step, whether it is built as things are now, what was swept, its figures and seconds."""

    step: str
    built: bool
    shown: Mapping[str, str]
    figures: Mapping[str, float]
    seconds: float | None = None
    best: bool = False

    @property
    def label(self) -> str:
        """Return what was swept in few words."""
        return ", ".join(f"{name} {value}" for name, value in self.shown.items())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return attrs.asdict(self)


@attrs.frozen
class Comparison:
    """Hold a sweep's points beside each other."""

    metric: str
    lowest: bool
    points: Sequence[PointReport]

    @property
    def axes(self) -> list[str]:
        """Return the names of what was swept."""
        return list(dict.fromkeys(name for point in self.points for name in point.shown))

    @property
    def ranked(self) -> list[PointReport]:
        """Return the points, the best first where there is a figure to tell it by."""
        sign = 1 if self.lowest else -1
        return sorted(self.points, key=lambda p: sign * p.figures.get(self.metric, sign * math.inf))

    def columns(self, most: int) -> list[str]:
        """Return the figures worth a column: the one that tells the best, then those in which points differ."""
        names = dict.fromkeys(name for point in self.points for name in point.figures)
        differ = [name for name in names if len({point.figures.get(name) for point in self.points}) > 1]
        ordered = [self.metric] * (self.metric in names) + sorted(differ, key=lambda name: "." in name)
        return list(dict.fromkeys(ordered or names))[:most]


def compare(sweep: Sweep, records: Mapping[str, Record | None], built: Mapping[str, bool], store: Store) -> Comparison:
    """Return the points of *sweep* with what the store has of them."""
    points = []
    for point in sweep.points:
        record = records.get(point.step)
        figures = _figures(record, store) if record is not None else {}
        seconds = record.seconds if record is not None else None
        points.append(PointReport(point.step, built.get(point.step, False), point.shown, figures, seconds))
    sign = 1 if sweep.lowest else -1
    known = [p for p in points if math.isfinite(p.figures.get(sweep.metric, math.nan))]
    best = min(known, key=lambda p: sign * p.figures[sweep.metric], default=None)
    return Comparison(sweep.metric, sweep.lowest, [attrs.evolve(p, best=p is best) for p in points])


def _figures(record: Record, store: Store) -> dict[str, float]:
    found: dict[str, float] = {}
    tree = store.complete(record.tree)
    for member in FIGURES if tree is not None else ():
        if tree is not None and member in tree.members:
            with suppress(StoreError, OSError, ValueError, KeyError, TypeError):  # `forge store verify` names damage
                found = figures_in(member, json.loads(store.read_object(tree.members[member]))) | found
    return found
