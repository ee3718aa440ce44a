"""Work charts out in numbers that a template draws: bars, histograms, curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from forge.report.words import figure, fitted, width_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_POINTS = 600
_TICKS = 4
_LONGEST, _WIDE = 100, 22


@attrs.frozen
class Bars:
    """Hold counts by value, the most first or in the values' own order; ``more`` counts what is left out."""

    entries: Sequence[tuple[str, int]]
    total: int
    more: int = 0

    @property
    def long(self) -> bool:
        """Say whether a value needs a line of its own."""
        return any(width_of(value) > _WIDE for value, _ in self.entries)

    @property
    def most(self) -> int:
        """Return the longest bar's count."""
        return max((count for _, count in self.entries), default=0) or 1


@attrs.frozen
class Histogram:
    """Hold counts of equal bins from *low* to *high*; with *whole* each bin is one whole number."""

    low: float
    high: float
    counts: Sequence[int]
    whole: bool = False

    @property
    def bars(self) -> list[tuple[float, float, str]]:
        """Return each bin's place and height in per cent of the whole, and what it says."""
        most = max(self.counts) or 1
        step = 100 / len(self.counts)
        return [
            (round(i * step, 3), round(100 * count / most, 2), f"{self._range(i)}: {count:,}")
            for i, count in enumerate(self.counts)
        ]

    @property
    def thick(self) -> float:
        """Return a bar's thickness in per cent."""
        return round(100 / len(self.counts), 3)

    def _range(self, number: int) -> str:
        if self.whole:
            return figure(int(self.low) + number)
        width = (self.high - self.low) / len(self.counts)
        return f"{figure(self.low + number * width)} to {figure(self.low + (number + 1) * width)}"


@attrs.frozen
class Line:
    """Hold one line of a chart: points as ``x,y`` in per cent, and where it ends in its own unit."""

    name: str
    points: str
    first: str
    last: str
    least: str
    dots: Sequence[tuple[float, float]] = ()


@attrs.frozen
class Curve:
    """Hold a chart of lines over the same steps; ticks are pairs of place in per cent and text."""

    title: str
    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]


def bars_of(counts: Mapping[str, int], most: int = 10) -> Bars:
    """Return bars of *counts* as they come, no more than *most*."""
    entries = [(fitted(value, _LONGEST) or "(empty)", count) for value, count in counts.items()]
    return Bars(entries[:most], sum(counts.values()), max(0, len(entries) - most))


def curve_of(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> Curve | None:
    """Return a chart of named series of (x, y); what is not finite is left out."""
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for name, points in series.items()
    }
    finite = {name: thinned(points) for name, points in finite.items() if points}
    if not finite:
        return None
    xs = [x for points in finite.values() for x, _ in points]
    ys = [y for points in finite.values() for _, y in points]
    x_ticks = ticks(min(xs), max(xs), whole=all(float(x).is_integer() for x in xs))
    y_ticks = ticks(min(ys), max(ys))
    left, right = min(xs), max(xs)
    low, high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)

    def across(x: float) -> float:
        return round(100 * (x - left) / (right - left), 2) if right > left else 50.0

    def up(y: float) -> float:
        return round(100 - 100 * (y - low) / (high - low), 2) if high > low else 50.0

    lines = []
    for name, points in finite.items():
        places = [(across(x), up(y)) for x, y in points]
        values = [y for _, y in points]
        few = 16
        lines.append(
            Line(
                name,
                " ".join(f"{x:g},{y:g}" for x, y in places),
                figure(float(values[0])),
                figure(float(values[-1])),
                figure(float(min(values))),
                places if len(places) <= few else (),
            )
        )
    return Curve(
        title,
        lines,
        [(across(x), figure(x)) for x in x_ticks if left <= x <= right],
        [(up(y), figure(y)) for y in y_ticks],
    )


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points, or of many the lowest and the highest of each stretch, so that no spike is lost."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    stretch = math.ceil(len(points) / (_MOST_POINTS // 2))
    kept = []
    for start in range(0, len(points), stretch):
        chosen = points[start : start + stretch]
        ends = {min(chosen, key=lambda p: p[1]), max(chosen, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return round numbers that enclose *low* to *high* in some four steps."""
    if high <= low:
        return [low]
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(start, end + 1)]
