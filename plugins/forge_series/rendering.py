"""Write series as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def as_text(series: pl.Series, digits: int, levels: int | None) -> str:
    """Return the numbers between blanks: rounded to *digits* significant digits, or as steps from 0 to *levels*."""
    import polars as pl

    if levels is None:
        return " ".join(map(_number, series.round_sig_figs(digits)))
    least, greatest = float(series.min()), float(series.max())  # type: ignore[arg-type]
    span = greatest - least
    steps = (
        ((series - least) / span * levels).round().cast(pl.Int64)
        if span
        else pl.zeros(len(series), dtype=pl.Int64, eager=True)
    )
    low, high = map(_number, pl.Series([least, greatest]).round_sig_figs(digits))
    return f"{low}..{high}: " + " ".join(map(str, steps))


def _number(value: float) -> str:
    """Return the shortest text of *value*, a whole number without its point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)  # noqa: PLR2004
