"""Put the points of series onto a regular clock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import attrs
from attrs.validators import matches_re

import forge
from forge_series.points import POINTS, first_rows, schema, series_of

if TYPE_CHECKING:
    import polars as pl

_ROW = "__row__"
_MOST_TICKS = 5_000_000
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_EMPTY = "no points with a time stamp"
_GAP = "a gap in the stamps"
_BACK = "stamp before the last one"
_SORTED = "point put where its stamp belongs"
_FILLED = "point filled into a gap"
_REPEATED = "stamp that stands twice"
_NEVER = "stamp that its time zone skips"


def _zone(_instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        if not available_timezones():
            return  # this machine has no list of zones; Polars brings its own
        message = f"`{attribute.name}` must be a time zone such as `Asia/Shanghai`, got `{value}`"
        raise ValueError(message) from None


@attrs.frozen
class Resample:
    """Give each series one point every *frequency* (``30s``, ``5m``, ``1h``, ``1d``), made from the stamps in it.

    Stamps are those of *time_zone*, so a day begins at its midnight. An hour that a zone has twice counts as its first
    one; a stamp in an hour that a zone skips leaves the series.
    *backward* handles points whose stamp is before one that stands above them: ``sort`` the series by its stamps,
    ``drop`` the points, or stop with an ``error``. *repeated* handles points with one stamp: the ``first``, the
    ``last``, their ``mean``, or an ``error``. *value* makes one value of all that fall between two ticks, and *gaps*
    says what stands at a tick without any: ``interpolate`` between its neighbours, carry the last value ``forward``,
    ``drop`` the series, or an ``error``.
    Rows of the file that a point stands for are remembered, so intervals in rows stay right.
    Points that were filled in, sorted, dropped or made one are counted; the column ``filled`` has the first by series.
    """

    frequency: str = attrs.field(validator=matches_re(r"([1-9][0-9]*(us|ms|s|m|h|d|w))+"))
    gaps: Literal["interpolate", "forward", "drop", "error"] = "interpolate"
    value: Literal["mean", "first", "last", "min", "max"] = "mean"
    repeated: Literal["first", "last", "mean", "error"] = "mean"
    backward: Literal["sort", "drop", "error"] = "sort"
    time_zone: str = attrs.field(default="UTC", validator=_zone)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Resample all rows; one without stamps is dropped."""
        import polars as pl

        frame = series_of(rows).with_row_index(_ROW)
        points, never = self._points(frame)
        points, back = self._forwards(points, frame)
        points, repeated = self._single(points, frame)
        ticks = self._ticks(points, frame)
        kept = frame.drop(POINTS)
        for found in (ticks, never, back, repeated):
            kept = kept.join(found, on=_ROW, how="left", maintain_order="left")
        counts = (_NEVER, _SORTED if self.backward == "sort" else _BACK, _REPEATED)
        ordered = kept.select(*schema(), pl.col("filled").fill_null(0), pl.col(*counts).fill_null(0))
        no_points, gap = pl.col("values").is_null(), (pl.col("filled") > 0) & pl.lit(self.gaps == "drop")
        marked = forge.drop(ordered.lazy(), {_EMPTY: no_points, _GAP: gap})
        filled = pl.col("filled") if self.gaps != "drop" else pl.lit(0)
        return forge.tally(marked, {_FILLED: filled, **{what: pl.col(what) for what in counts}}).drop(counts)

    def _points(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return a row a point, its stamp in the declared time zone, and how many stamps that zone never had."""
        import polars as pl

        length = pl.col("values").list.len()
        points = (
            frame.filter(pl.col("stamps").is_not_null())
            .select(
                _ROW,
                "values",
                "stamps",
                first_rows(pl.col("low"), length).alias("low"),
                first_rows(pl.col("high"), length).alias("high"),
            )
            .explode(POINTS)
            .with_columns(
                pl.col("stamps").dt.replace_time_zone(self.time_zone, ambiguous="earliest", non_existent="null")
            )
        )
        lost = pl.col("stamps").is_null()
        return points.filter(~lost), _counted(points.filter(lost), _NEVER)

    def _forwards(self, points: pl.DataFrame, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the points in the order of their stamps."""
        import polars as pl

        back = pl.col("stamps") < pl.col("stamps").cum_max().over(_ROW)
        late = points.filter(back)
        if self.backward == "error" and late.height:
            raise _stamp_error("goes back", late, frame, "`backward` takes `sort` or `drop`")
        if self.backward == "drop":
            return points.filter(~back), _counted(late, _BACK)
        return points.sort(_ROW, "stamps", maintain_order=True), _counted(late, _SORTED)

    def _single(self, points: pl.DataFrame, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return one point a stamp."""
        import polars as pl

        again = points.filter(~pl.struct(_ROW, "stamps").is_first_distinct())
        if again.height and self.repeated == "error":
            raise _stamp_error("stands twice", again, frame, "`repeated` takes `first`, `last` or `mean`")
        if again.height:
            value = {
                "first": pl.col("values").first(),
                "last": pl.col("values").last(),
                "mean": pl.col("values").mean(),
            }
            points = points.group_by(_ROW, "stamps", maintain_order=True).agg(
                value[self.repeated], pl.col("low").min(), pl.col("high").max()
            )
        return points, _counted(again, _REPEATED)

    def _ticks(self, points: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the lists of each series at regular ticks, and how many ticks were filled."""
        import polars as pl

        self._affordable(points, frame)
        value = {
            "mean": pl.col("values").mean(),
            "first": pl.col("values").first(),
            "last": pl.col("values").last(),
            "min": pl.col("values").min(),
            "max": pl.col("values").max(),
        }
        grouped = points.group_by_dynamic("stamps", every=self.frequency, group_by=_ROW).agg(
            value[self.value], pl.col("low").min(), pl.col("high").max()
        )
        regular = grouped.upsample("stamps", every=self.frequency, group_by=_ROW).sort(_ROW, "stamps")
        holes = regular.filter(pl.col("values").is_null())
        if self.gaps == "error" and holes.height:
            raise _stamp_error("is missing", holes, frame, "`gaps` takes `interpolate`, `forward` or `drop`")
        held = pl.col("values")
        filled = held.forward_fill() if self.gaps == "forward" else held.interpolate()
        following = pl.col("low").backward_fill().over(_ROW)
        return (
            regular.with_columns(
                filled.over(_ROW),
                pl.col("stamps").dt.replace_time_zone(None),
                held.is_null().alias("filled"),
                following,
                # the row before the next point's: with `low` above it, a filled point stands for no row
                pl.coalesce("high", following.cast(pl.Int64) - 1).clip(0).cast(pl.UInt32).alias("high"),
            )
            .group_by(_ROW, maintain_order=True)
            .agg(*POINTS, pl.col("filled").sum().cast(pl.UInt32))
        )

    def _affordable(self, points: pl.DataFrame, frame: pl.DataFrame) -> None:
        """Refuse a frequency that would make more points of a series than a machine holds."""
        import polars as pl

        stamps = pl.col("stamps")
        spans = points.group_by(_ROW).agg(stamps.min().alias("stamps"), (stamps.max() - stamps.min()).alias("span"))
        longest = spans.filter(pl.col("span").dt.total_seconds() / seconds(self.frequency) > _MOST_TICKS)
        if longest.height:
            text = f"begins a series of more than {_MOST_TICKS:,} ticks of `{self.frequency}`"
            raise _stamp_error(text, longest.sort(_ROW), frame, "look for a wrong stamp in it, or raise `frequency`")


def seconds(frequency: str) -> float:
    """Return how long a tick is."""
    return sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"([0-9]+)(us|ms|s|m|h|d|w)", frequency))


def _counted(points: pl.DataFrame, what: str) -> pl.DataFrame:
    import polars as pl

    return points.group_by(_ROW).agg(pl.len().alias(what))


def _stamp_error(what: str, points: pl.DataFrame, frame: pl.DataFrame, hint: str) -> forge.StepError:
    row, stamp = points.row(0, named=True)[_ROW], points.row(0, named=True)["stamps"]
    file = frame.filter(frame[_ROW] == row)["file"][0]
    return forge.StepError(f"stamp `{stamp:%Y-%m-%d %H:%M:%S}` of `{file}` {what}", hint=hint)
