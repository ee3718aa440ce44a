"""Draw a manifest's graph: where each step's box lies and how the edges run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from forge.report.layout import arrange
from forge.report.words import width_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEIGHT, _BETWEEN = 46.0, 26.0
_NARROWEST, _WIDEST = 128.0, 240.0
_SIGN, _AROUND = 8.8, 80.0
"""Pixels of a digit in a box, and of the box around its text."""


@attrs.frozen
class Box:
    """Hold a step's box, what it is called there, and its place in pixels from the top left."""

    name: str
    called: str
    left: float
    top: float
    width: float
    height: float


@attrs.frozen
class Picture:
    """Hold a drawn graph: boxes, and the paths of edges with the names of their ends."""

    width: float
    height: float
    boxes: Sequence[Box]
    edges: Sequence[tuple[str, str, str]]


def draw(needs: Mapping[str, Iterable[str]], called: Mapping[str, str] | None = None) -> Picture:
    """Draw steps from top to bottom, in an order in which each comes after what it *needs*.

    *called* is what stands in the boxes of steps that do not go by their names.
    """
    shown = {name: (called or {}).get(name, name) for name in needs}
    sizes = {name: min(_WIDEST, max(_NARROWEST, _AROUND + _SIGN * width_of(shown[name]))) for name in needs}
    layout = arrange(needs, sizes, gap=18.0)
    layers = layout.layer_of

    def top(node: object) -> float:
        return layers[node] * (_HEIGHT + _BETWEEN)  # type: ignore[index]

    boxes = [
        Box(
            name,
            shown[name],
            round(layout.across[name] - sizes[name] / 2, 1),
            top(name),
            round(sizes[name], 1),
            _HEIGHT,
        )
        for name in needs
    ]
    edges = []
    for (before, after), route in layout.routes.items():
        x, y = layout.across[before], top(before) + _HEIGHT
        path = f"M{x:.1f} {y:.1f}"
        for node in route[1:]:
            to_x, to_y = layout.across[node], top(node)
            bend = (to_y - y) * 0.6
            path += f"C{x:.1f} {y + bend:.1f} {to_x:.1f} {to_y - bend:.1f} {to_x:.1f} {to_y:.1f}"
            x, y = to_x, to_y
            if not isinstance(node, str):
                y = to_y + _HEIGHT
                path += f"V{y:.1f}"
        edges.append((before, after, path))
    width = max((layout.across[n] + (sizes[n] if isinstance(n, str) else 16.0) / 2 for n in layout.across), default=0)
    height = len(layout.layers) * (_HEIGHT + _BETWEEN) - _BETWEEN
    return Picture(round(width, 1), max(0.0, height), boxes, edges)
