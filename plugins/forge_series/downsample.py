"""Reduce series to a declared number of points, and remember which rows of the file each point stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge

from forge_series.points import checked, first_rows, listed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    Places = npt.NDArray[np.int64]


@attrs.frozen
class Downsample:
    """Reduce each series to *points* points; one that has no more stays as it is.

    ``lttb`` keeps the points that show a line's shape, ``minmaxlttb`` nearly the same for long series in less time,
    ``every`` each n-th. ``mean`` takes the mean of *points* stretches of equal length, within one point.
    """

    points: int = attrs.field(validator=ge(3))
    method: Literal["lttb", "minmaxlttb", "mean", "every"] = "minmaxlttb"

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Reduce the lists of all rows."""
        return self.reduced(checked(rows)).lazy()

    def reduced(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a checked table of series with its lists reduced, all of them in one array."""
        import numpy as np
        import polars as pl

        length = pl.col("values").list.len()
        lengths = frame.select(length.cast(pl.Int64))["values"].to_numpy()
        if not (lengths > self.points).any():
            return frame
        starts = lengths.cumsum() - lengths
        values = frame["values"].explode().to_numpy()
        pick = self._stretches if self.method == "mean" else self._picked
        pieces = pick(values, list(zip(starts.tolist(), lengths.tolist(), strict=True)))
        sizes = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        places = np.concatenate(pieces, dtype=np.int64, casting="unsafe") + np.repeat(starts, sizes)
        mean = self.method == "mean"
        kept = np.add.reduceat(values, places) / np.diff(places, append=len(values)) if mean else values[places]
        if frame["low"].null_count() == frame.height:
            before = np.repeat(starts, sizes)
            low = (places - before).astype(np.uint32)
            high = (np.append(places[1:], len(values)) - 1 - before).astype(np.uint32) if mean else low
        else:
            spelled = frame.select(first_rows(pl.col(name), length).alias(name).explode() for name in ("low", "high"))
            lows, highs = (spelled[name].to_numpy() for name in ("low", "high"))
            low = np.minimum.reduceat(lows, places) if mean else lows[places]
            high = np.maximum.reduceat(highs, places) if mean else highs[places]
        columns: dict[str, Any] = {"values": kept, "low": low, "high": high}
        return frame.with_columns(
            self._stamps(frame, places, sizes),
            *(listed(name, pl.Series(points), sizes) for name, points in columns.items()),
        )

    def _picked(self, values: Any, stretches: list[tuple[int, int]]) -> list[Places]:
        """Return the places of the points that stay, counted in each series."""
        import numpy as np
        import tsdownsample

        sampler: Any = {
            "lttb": tsdownsample.LTTBDownsampler,
            "minmaxlttb": tsdownsample.MinMaxLTTBDownsampler,
            "every": tsdownsample.EveryNthDownsampler,
        }[self.method]()
        return [
            np.arange(length)
            if length <= self.points
            else sampler.downsample(values[start : start + length], n_out=self.points)
            for start, length in stretches
        ]

    def _stretches(self, _values: Any, stretches: list[tuple[int, int]]) -> list[Places]:
        """Return the places at which the stretches begin, counted in each series."""
        import numpy as np

        return [
            np.arange(length) if length <= self.points else np.arange(self.points) * length // self.points
            for _, length in stretches
        ]

    def _stamps(self, frame: pl.DataFrame, places: Places, sizes: Places) -> pl.Series:
        import polars as pl

        stamps = frame["stamps"]
        if stamps.null_count() == frame.height:
            return stamps
        nothing = pl.lit(None).cast(pl.Datetime("us")).repeat_by(pl.col("values").list.len())
        spelled = frame.select(pl.when(pl.col("stamps").is_null()).then(nothing).otherwise("stamps").explode())
        kept = listed("stamps", spelled.to_series().gather(places), sizes)
        return kept.to_frame().select(pl.when(stamps.is_not_null()).then("stamps").alias("stamps")).to_series()
