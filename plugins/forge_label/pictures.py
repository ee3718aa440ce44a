"""Confusion matrices and distributions as pictures; the same figures give the same bytes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_DARK = 0.6  # of the greatest count: white digits stand on what is darker


def draw_confusion(path: Path, name: str, values: Sequence[Any], counts: Sequence[Sequence[int]], axes: str) -> None:
    """Draw a confusion matrix; *axes* names what the columns are, the rows are gold."""
    figure, plot = _figure(1.6 + 0.7 * len(values))
    plot.imshow(counts, cmap="Blues", vmin=0)
    most = max((count for row in counts for count in row), default=0)
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            colour = "white" if count > _DARK * most else "black"
            plot.text(column, row, str(count), ha="center", va="center", color=colour)
    plot.set_xticks(range(len(values)), [str(value) for value in values], rotation=30, ha="right")
    plot.set_yticks(range(len(values)), [str(value) for value in values])
    plot.set_xlabel(axes)
    plot.set_ylabel("gold")
    plot.set_title(name)
    _save(figure, path)


def draw_distribution(path: Path, name: str, now: Mapping[str, int], before: Mapping[str, int] | None) -> None:
    """Draw the share of each value, beside that of an earlier build."""
    values = list(dict.fromkeys([*now, *(before or {})]))
    figure, plot = _figure(2.0 + 0.7 * len(values))
    shown = [("now", now)] if before is None else [("before", before), ("now", now)]
    width = 0.8 / len(shown)
    for index, (when, counts) in enumerate(shown):
        total = sum(counts.values()) or 1
        places = [place + index * width for place in range(len(values))]
        plot.bar(places, [counts.get(value, 0) / total for value in values], width, label=when)
    plot.set_xticks([place + width * (len(shown) - 1) / 2 for place in range(len(values))], values, rotation=30)
    plot.set_ylabel("share of rows")
    plot.set_title(name)
    if len(shown) > 1:
        plot.legend()
    _save(figure, path)


def _figure(width: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.2), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a label in a script that no font here has
        figure.savefig(path, dpi=110, metadata={"Software": None})
