"""Draw how rows flow through the steps: bands as wide as their rows, and what leaves on the way."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from forge.report.layout import Layout, arrange
from forge.report.words import fitted, width_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FULL = 168.0
"""Pixels of the most rows that stand side by side in one layer."""
_BAR, _LABEL, _GAP, _THIN = 9.0, 34.0, 16.0, 1.5
_NARROWEST, _WIDEST, _SIGN = 92.0, 168.0, 7.2
_LEAVE, _ROOM = 52.0, 15.0
"""Pixels of the stub of what leaves, and the height that holds a label."""
_WANTED = 1060.0
"""Pixels that a flow with few steps is drawn out to."""
_DRAWN_OUT = 190.0


@attrs.frozen
class Rows:
    """Hold a step's rows: in, out by part, dropped, and whence they come as (step, part, rows)."""

    name: str
    came: int
    parts: Mapping[str, int]
    dropped: int
    sources: Sequence[tuple[str, str, int]]

    @property
    def total(self) -> int:
        """Return the rows that the step's bar stands for."""
        return max(self.came, sum(self.parts.values()) + self.dropped, 1)


@attrs.frozen
class Bar:
    """Hold a step's bar and its two lines of text, in pixels; ``kept`` is the height of what goes on."""

    name: str
    label: str
    figures: str
    x: float
    y: float
    width: float
    height: float
    kept: float


@attrs.frozen
class Band:
    """Hold the outline of a band between two bars, and what it says."""

    path: str
    title: str


@attrs.frozen
class Leaving:
    """Hold the stub of rows that leave at a bar's foot, and where its label stands."""

    x: float
    y: float
    width: float
    height: float
    label: str
    label_x: float
    label_y: float
    title: str


@attrs.frozen
class Picture:
    """Hold a drawn flow."""

    width: float
    height: float
    bars: Sequence[Bar]
    bands: Sequence[Band]
    leaving: Sequence[Leaving]


def draw(steps: Sequence[Rows]) -> Picture | None:
    """Draw the flow from left to right; None where no rows flow from one step to another."""
    known = {step.name: step for step in steps}
    needs = {s.name: [n for n, _, _ in s.sources if n in known] for s in steps}
    if not any(needs.values()):
        return None
    scale = _scale(known, arrange(needs, dict.fromkeys(needs, 1.0), gap=1.0))
    sizes = {name: max(_THIN * 2, step.total * scale) + _LABEL for name, step in known.items()}
    layout = arrange(needs, sizes, gap=_GAP)
    columns = _columns(layout, known)
    bars = {name: _bar(step, layout, columns, sizes[name], scale) for name, step in known.items()}
    bands = [band for step in steps for band in _bands(step, known, bars, layout, columns, scale)]
    leaving = [_leaving(step, bars[step.name], scale) for step in steps if step.dropped]
    height = max(bar.y + bar.height for bar in bars.values())
    return Picture(round(columns[-1], 1), round(height + 4, 1), list(bars.values()), bands, leaving)


def _scale(known: Mapping[str, Rows], layout: Layout) -> float:
    fullest = max(sum(known[n].total for n in layer if isinstance(n, str)) for layer in layout.layers)
    return _FULL / fullest


def _columns(layout: Layout, known: Mapping[str, Rows]) -> list[float]:
    """Return where each layer begins, and where the last one ends."""
    widths = []
    for layer in layout.layers:
        texts = [text for n in layer if isinstance(n, str) for text in (n, _figures(known[n]))]
        widest = max((width_of(text) for text in texts), default=0.0)
        widths.append(min(_WIDEST, max(_NARROWEST, widest * _SIGN + 14)))
    # the last column holds its own labels alone
    more = max(0.0, (_WANTED - sum(widths)) / max(1, len(widths) - 1))
    places = [0.0]
    for number, width in enumerate(widths):
        last = number == len(widths) - 1
        places.append(places[-1] + (width if last else max(width, min(width + more, _DRAWN_OUT))))
    return places


def _figures(step: Rows) -> str:
    out = sum(step.parts.values())
    if not step.came or step.came == out:
        return f"{out or step.came:,} rows"
    return f"{step.came:,} → {out:,}" if step.parts else f"{step.came:,} rows"


def _bar(step: Rows, layout: Layout, columns: Sequence[float], size: float, scale: float) -> Bar:
    layer = layout.layer_of[step.name]
    room = (columns[layer + 1] - columns[layer] - 10) / _SIGN
    top = layout.across[step.name] - size / 2
    height = size - _LABEL
    kept = sum(step.parts.values()) * scale if step.parts else height
    return Bar(
        step.name,
        fitted(step.name, room),
        fitted(_figures(step), room),
        columns[layer],
        round(top + _LABEL, 1),
        _BAR,
        round(height, 1),
        round(min(height, max(_THIN, kept)), 1),
    )


def _bands(
    step: Rows,
    known: Mapping[str, Rows],
    bars: Mapping[str, Bar],
    layout: Layout,
    columns: Sequence[float],
    scale: float,
) -> list[Band]:
    """Return the bands that come to a step, the highest first, so that none crosses another."""
    found = []
    into = bars[step.name].y
    starts = {}
    for source, part, rows in step.sources:
        if source in known:
            names = list(known[source].parts)
            above = sum(known[source].parts[name] for name in names[: names.index(part)])
            starts[source, part, rows] = bars[source].y + above * scale
    for (source, part, rows), start in sorted(starts.items(), key=lambda item: item[1]):
        thick = max(_THIN, rows * scale)
        corners = [(columns[layout.layer_of[source]] + _BAR, start)]
        for node in layout.routes[source, step.name][1:]:
            x = columns[layout.layer_of[node]]
            if isinstance(node, str):
                corners.append((x, into))
            else:
                y = layout.across[node] - thick / 2
                corners += [(x, y), (x + _BAR, y)]
        reference = f"{source}.{part}" if part else source
        found.append(Band(_outline(corners, thick), f"{reference} → {step.name}: {rows:,} rows"))
        into += thick
    return found


def _outline(corners: Sequence[tuple[float, float]], thick: float) -> str:
    """Return a path along the upper corners and back along the lower ones."""
    forth = _edge(corners)
    back = _edge([(x, y + thick) for x, y in reversed(corners)])
    x, y = corners[0]
    return f"M{x:.1f} {y:.1f}{forth}V{corners[-1][1] + thick:.1f}{back}Z"


def _edge(corners: Sequence[tuple[float, float]]) -> str:
    path = ""
    for (x, y), (to_x, to_y) in pairwise(corners):
        middle = (x + to_x) / 2
        path += f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    return path


def _leaving(step: Rows, bar: Bar, scale: float) -> Leaving:
    thick = min(bar.height, max(_THIN, step.dropped * scale))
    x, y = bar.x + bar.width, bar.y + bar.height - thick
    return Leaving(
        round(x, 1),
        round(y, 1),
        _LEAVE,
        round(thick, 1),
        f"−{step.dropped:,}",
        round(x + 7, 1),
        # a thin stub has its label below
        round(y + thick / 2 + 4 if thick >= _ROOM else y + thick + 12, 1),
        f"{step.name}: {step.dropped:,} rows dropped",
    )
