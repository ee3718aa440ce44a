"""Slice series into windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import ge, optional

from forge_series.points import POINTS, checked, first_rows

if TYPE_CHECKING:
    import polars as pl


@attrs.frozen
class Window:
    """Slice each series into windows of *length* points, *stride* points apart (*length* if it is not given).

    *rest* says what becomes of points behind the last whole window: ``keep`` them as a shorter window, ``drop`` them,
    or ``shift`` a whole window back so that it ends with the series. A series of at most *length* points stays whole.
    Windows are numbered from 0 in the column ``window``; intervals are clipped to them later, by `series.chatts`.
    """

    length: int = attrs.field(validator=ge(2))
    stride: int | None = attrs.field(default=None, validator=optional(ge(1)))
    rest: Literal["keep", "drop", "shift"] = "shift"

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Give each window a row of its own."""
        import polars as pl

        frame = checked(rows).with_columns(pl.col("values").list.len().alias("__points__"))
        frame = frame.with_columns(
            pl.Series("__start__", [self.starts(n) for n in frame["__points__"]], dtype=pl.List(pl.UInt32)),
            first_rows(pl.col("low"), pl.col("__points__")).alias("low"),
            first_rows(pl.col("high"), pl.col("__points__")).alias("high"),
        )
        numbered = frame.with_columns(pl.int_ranges(0, pl.col("__start__").list.len(), dtype=pl.UInt32).alias("window"))
        windows = numbered.lazy().explode("__start__", "window")
        sliced = [pl.col(name).list.slice(pl.col("__start__"), self.length) for name in POINTS]
        return windows.with_columns(sliced).drop("__start__", "__points__")

    def starts(self, points: int) -> list[int]:
        """Return where the windows of a series of *points* points begin."""
        if points <= self.length:
            return [0]
        stride = self.stride or self.length
        whole = list(range(0, points - self.length + 1, stride))
        covered = whole[-1] + self.length
        if covered >= points or self.rest == "drop":
            return whole
        return [*whole, points - self.length if self.rest == "shift" else whole[-1] + stride]
