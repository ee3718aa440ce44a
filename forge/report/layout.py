"""Lay a graph out in layers: few crossings, straight edges, nothing overlapping."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_SWEEPS = 12


@attrs.frozen
class Bend:
    """Stand for an edge in a layer that it only passes."""

    edge: tuple[str, str]
    layer: int


Node = str | Bend


@attrs.frozen
class Layout:
    """Hold where each node lies: its layer, and the middle of it across the layer.

    ``routes`` gives each edge the nodes and bends that it goes through.
    """

    layers: Sequence[Sequence[Node]]
    across: Mapping[Node, float]
    routes: Mapping[tuple[str, str], Sequence[Node]]

    @property
    def layer_of(self) -> dict[Node, int]:
        """Return the layer of each node and bend."""
        return {node: number for number, layer in enumerate(self.layers) for node in layer}


def arrange(
    needs: Mapping[str, Iterable[str]], sizes: Mapping[str, float], *, gap: float, bend: float = 16.0
) -> Layout:
    """Lay out nodes that come after what they *need*; *sizes* are their extents across the layers.

    *needs* is in an order in which each node comes after what it needs.
    """
    edges = list(dict.fromkeys((before, name) for name, befores in needs.items() for before in befores))
    ranks = _ranks(list(needs), edges)
    routes = {edge: _route(edge, ranks) for edge in edges}
    layers: list[list[Node]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name in needs:
        layers[ranks[name]].append(name)
    for route in routes.values():
        for node in route[1:-1]:
            layers[node.layer].append(node)  # type: ignore[union-attr]  # what lies between the ends is a bend
    above: dict[Node, list[Node]] = {node: [] for layer in layers for node in layer}
    below: dict[Node, list[Node]] = {node: [] for layer in layers for node in layer}
    for route in routes.values():
        for one, other in pairwise(route):
            above[other].append(one)
            below[one].append(other)
    extents = {node: sizes[node] if isinstance(node, str) else bend for node in above}
    layers = _order(layers, above, below)
    across = _place(layers, above, below, extents, gap)
    low = min((across[n] - extents[n] / 2 for n in across), default=0.0)
    return Layout(layers, {node: round(place - low, 2) for node, place in across.items()}, routes)


def _ranks(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return each node's layer: after all it needs, and what needs nothing just before its first reader."""
    ranks: dict[str, int] = {}
    for name in names:
        ranks[name] = max((ranks[before] + 1 for before, after in edges if after == name), default=0)
    for name in names:
        readers = [ranks[after] for before, after in edges if before == name]
        if readers and not any(after == name for _, after in edges):
            ranks[name] = min(readers) - 1
    return ranks


def _route(edge: tuple[str, str], ranks: Mapping[str, int]) -> list[Node]:
    before, after = edge
    return [before, *(Bend(edge, layer) for layer in range(ranks[before] + 1, ranks[after])), after]


def _order(
    layers: list[list[Node]], above: Mapping[Node, Sequence[Node]], below: Mapping[Node, Sequence[Node]]
) -> list[list[Node]]:
    """Sort each layer by the middle of its neighbours, down and up, and keep the order with the fewest crossings."""
    best, fewest = layers, _crossings(layers, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        numbers = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        for number in numbers:
            other = layers[number - 1 if down else number + 1]
            places = {node: place for place, node in enumerate(other)}
            beside = above if down else below
            own = {node: place for place, node in enumerate(layers[number])}
            layers[number].sort(key=lambda n, b=beside, p=places, o=own: (_middle(b[n], p, o[n]), o[n]))  # type: ignore[misc]
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _middle(beside: Sequence[Node], places: Mapping[Node, int], own: float) -> float:
    return sum(places[n] for n in beside) / len(beside) if beside else own


def _crossings(layers: Sequence[Sequence[Node]], below: Mapping[Node, Sequence[Node]]) -> int:
    count = 0
    for layer, following in pairwise(layers):
        places = {node: place for place, node in enumerate(following)}
        ends = [sorted(places[n] for n in below[node]) for node in layer]
        flat = [(number, end) for number, each in enumerate(ends) for end in each]
        count += sum(a[0] < b[0] and a[1] > b[1] for a in flat for b in flat)
    return count


def _place(
    layers: Sequence[Sequence[Node]],
    above: Mapping[Node, Sequence[Node]],
    below: Mapping[Node, Sequence[Node]],
    sizes: Mapping[Node, float],
    gap: float,
) -> dict[Node, float]:
    """Move nodes towards their neighbours, as near as their order and the *gap* between them allow."""
    across: dict[Node, float] = {}
    for layer in layers:
        across |= zip(layer, spread([0.0] * len(layer), [sizes[n] for n in layer], gap), strict=True)
    for sweep in range(4 * _SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = []
            for node in layer:
                beside = (above if down else below)[node] or (below if down else above)[node]
                wanted.append(sum(across[n] for n in beside) / len(beside) if beside else across[node])
            across |= zip(layer, spread(wanted, [sizes[n] for n in layer], gap), strict=True)
    return across


def spread(wanted: Sequence[float], sizes: Sequence[float], gap: float) -> list[float]:
    """Return the places nearest to *wanted*, by least squares, at which nothing overlaps and the order stays.

    Less the room before each, places must not fall: an isotonic regression, by pooling neighbours that do.
    """
    room = [0.0]
    for one, other in pairwise(sizes):
        room.append(room[-1] + (one + other) / 2 + gap)
    pools: list[tuple[float, int]] = []
    for want, before in zip(wanted, room, strict=False):
        mean, count = want - before, 1
        while pools and pools[-1][0] > mean:
            last, number = pools.pop()
            mean, count = (last * number + mean * count) / (number + count), number + count
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + before for mean, before in zip(means, room, strict=False)]
