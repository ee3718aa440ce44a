"""Tables of series: a row a series, its points as lists, and which rows of the file each point stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import forge

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.uint32]

POINTS = ("values", "stamps", "low", "high")
"""The columns that hold a list with an item a point.

``low`` and ``high`` are the first and last row of the file (from 0) that a point stands for. Both are null where point
*i* is row *i*, as in a series that was only read. A point that was filled into a gap stands for no row: its ``low`` is
the next point's, its ``high`` one less.
"""


def schema() -> dict[str, Any]:
    """Return the columns of a table of series."""
    import polars as pl

    return {
        "name": pl.String,
        "file": pl.String,
        "column": pl.String,
        "rows": pl.UInt32,
        "window": pl.UInt32,
        "missing": pl.UInt32,
        "values": pl.List(pl.Float64),
        "stamps": pl.List(pl.Datetime("us")),
        "low": pl.List(pl.UInt32),
        "high": pl.List(pl.UInt32),
    }


def row_map(low: pl.Series | None, high: pl.Series | None, points: int) -> tuple[Rows, Rows]:
    """Return ``low`` and ``high`` of one series of *points* points as arrays."""
    import numpy as np

    if low is None or high is None:
        rows = np.arange(points, dtype=np.uint32)
        return rows, rows
    return low.to_numpy(), high.to_numpy()


def series_of(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return a table of series as a frame, or say what it lacks."""
    import polars as pl

    frame = rows.collect()
    if missing := [name for name in schema() if name not in frame.columns]:
        raise forge.StepError(
            f"the table is no table of series: it has no column `{missing[0]}`",
            hint="`series.csv` makes one; `series.join` comes after the steps that reduce series",
        )
    return frame.with_columns(pl.col(name).cast(kind) for name, kind in schema().items())


def checked(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return a table of series whose points are all there, or say which are not."""
    import numpy as np

    frame = series_of(rows)
    together = frame["values"].explode()
    if not together.null_count() and np.isfinite(together.to_numpy()).all():
        return frame
    for name, points in zip(frame["name"], frame["values"], strict=True):
        if points is None or not len(points) or points.null_count() or not np.isfinite(points.to_numpy()).all():
            raise forge.StepError(
                f"series `{name}` has points that are no finite numbers", hint="`missing` of `series.csv` handles them"
            )
    return frame


def listed(name: str, points: pl.Series, sizes: npt.NDArray[np.int64]) -> pl.Series:
    """Return a column of lists, the first of them the first ``sizes[0]`` of all *points*, and so on."""
    import numpy as np
    import polars as pl

    if (sizes == sizes[0]).all():
        return points.reshape((len(sizes), int(sizes[0]))).arr.to_list().alias(name)
    rows = pl.Series(np.repeat(np.arange(len(sizes)), sizes)).set_sorted()
    frame = pl.DataFrame({"row": rows, name: points})
    return frame.group_by("row", maintain_order=True).agg(name)[name]


def first_rows(low: pl.Expr, length: pl.Expr) -> pl.Expr:
    """Return the rows that points stand for, spelled out where they are null."""
    import polars as pl

    return pl.when(low.is_null()).then(pl.int_ranges(0, length, dtype=pl.UInt32)).otherwise(low)


def records_of(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield joined rows as dicts: ``series`` as a list for each image of a list of dicts, their points still arrays."""
    import polars as pl

    apart = frame.select(pl.col("series"), pl.int_range(pl.len()).alias("record")).explode("series")
    apart = apart.with_columns(pl.int_range(pl.len()).over("record").alias("image")).explode("series").unnest("series")
    shown: dict[int, list[list[dict[str, Any]]]] = {}
    columns = [apart[name] for name in apart.columns]
    for cells in zip(*columns, strict=True):
        one = dict(zip(apart.columns, cells, strict=True))
        images = shown.setdefault(one["record"], [])
        if one["image"] == len(images):
            images.append([])
        images[-1].append(one)
    for place, row in enumerate(frame.drop("series").iter_rows(named=True)):
        yield row | {"series": shown[place]}


def nested(lists: list[list[pl.Series]]) -> pl.Series:
    """Return a column that holds several series a row."""
    import polars as pl

    flat = [series for several in lists for series in several]
    rows = [row for row, several in enumerate(lists) for _ in several]
    points = pl.DataFrame(
        {"row": pl.Series(rows, dtype=pl.Int64), "points": pl.Series(flat, dtype=pl.List(pl.Float64))}
    )
    grouped = points.group_by("row", maintain_order=True).agg("points")
    every = pl.DataFrame({"row": pl.int_range(len(lists), eager=True)})
    return every.join(grouped, on="row", how="left", maintain_order="left")["points"]
