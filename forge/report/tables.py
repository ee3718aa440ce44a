"""Measure a table column by column: exact figures, and never more than a slice of it in memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from forge.report.charts import Bars, Histogram, bars_of
from forge.report.words import figure, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import polars as pl

_BINS, _LEAST_BINS = 24, 6
SLICE = 1 << 17
"""Rows of a column that are in memory at once."""
_TWO = 2
"""Times that a value must come, on the mean, for a column to be a matter of few values."""
_FEW_VALUES = 50
_FEW_NUMBERS = 12
_SHOWN_WORDS = 8
_SPOKEN = ("text", "content")
ROLE = "role"


@attrs.frozen
class Column:
    """Hold a column's figures.

    ``measured`` says what *figures* and *histogram* are of where it is not the value: characters, entries.
    """

    name: str
    type: str
    missing: int
    rows: int
    measured: str = ""
    figures: Sequence[tuple[str, str]] = ()
    histogram: Histogram | None = None
    values: Bars | None = None


def columns_of(path: Path) -> list[Column]:
    """Return the figures of every column of the Arrow file *path*."""
    import polars as pl

    frame = pl.scan_ipc(path)
    rows = int(frame.select(pl.len()).collect().item())
    return [_column(_Reader(frame, name, rows), kind) for name, kind in frame.collect_schema().items()]


@attrs.frozen
class _Reader:
    """Read one column slice by slice; a whole table of texts may be larger than memory."""

    frame: pl.LazyFrame
    name: str
    rows: int

    def slices(self, expression: pl.Expr) -> Iterator[pl.Series]:
        for start in range(0, self.rows, SLICE):
            yield self.frame.slice(start, SLICE).select(expression.alias(self.name)).collect().to_series()

    def whole(self, expression: pl.Expr) -> pl.Series:
        """Return what *expression* makes of the column, which must be small: a number a row."""
        import polars as pl

        return pl.concat(self.slices(expression))


def spoken(kind: pl.DataType) -> str | None:
    """Return the field that holds what is said where a column is a conversation."""
    import polars as pl

    if not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
        return None
    names = {field.name for field in kind.inner.fields}
    return next((name for name in _SPOKEN if name in names), None) if ROLE in names else None


def _measure(name: str, kind: pl.DataType) -> tuple[pl.Expr, str] | None:
    """Return what is counted of a column, and what to call it."""
    import polars as pl

    column = pl.col(name)
    if kind == pl.String:
        return column.str.len_chars().cast(pl.Int64), "characters"
    if kind.is_decimal():
        return column.cast(pl.Float64), ""
    if kind.is_numeric():
        return column, ""
    if isinstance(kind, pl.List):
        return column.list.len().cast(pl.Int64), "turns" if spoken(kind) else "entries"
    return None


def _column(column: _Reader, kind: pl.DataType) -> Column:
    import polars as pl

    if not column.rows:
        return Column(column.name, type_of(kind), 0, 0)
    measure = _measure(column.name, kind)
    if measure is None:
        missing = int(column.whole(pl.col(column.name).is_null()).sum())
        return Column(column.name, type_of(kind), missing, column.rows, values=_values(column, kind))
    expression, measured = measure
    numbers = column.whole(expression)
    about = Column(column.name, type_of(kind), numbers.null_count(), column.rows, values=_values(column, kind))
    numbers = numbers.drop_nulls()
    if kind.is_float():
        numbers = numbers.filter(numbers.is_finite())
    if not len(numbers):
        return about
    low, high = numbers.min(), numbers.max()
    figures = [("min", low), ("median", numbers.median()), ("mean", numbers.mean()), ("max", high)]
    texts = [(word, figure(value)) for word, value in figures]
    if about.values is not None and measured in ("", "characters"):
        return attrs.evolve(about, measured=measured, figures=texts)
    histogram = _histogram(numbers, low, high)
    # a histogram's ends say what the least and the most are
    return attrs.evolve(
        about, measured=measured, figures=texts[1:3] if histogram is not None else texts, histogram=histogram
    )


def _histogram(numbers: pl.Series, low: Any, high: Any) -> Histogram | None:
    """Count the numbers of each bin, as many bins as Rice's rule says up to a bound."""
    import polars as pl

    if high <= low or not math.isfinite(high - low):
        return None
    whole = isinstance(low, int) and high - low < _BINS
    bins = int(high - low) + 1 if whole else min(_BINS, max(_LEAST_BINS, math.ceil(2 * len(numbers) ** (1 / 3))))
    width = 1.0 if whole else (high - low) / bins
    places = ((numbers.cast(pl.Float64) - low) / width).floor().clip(0, bins - 1).cast(pl.Int32)
    counts = [0] * bins
    for place, count in places.value_counts().iter_rows():
        counts[place] = count
    return Histogram(float(low), float(high), counts, whole)


def _values(column: _Reader, kind: pl.DataType) -> Bars | None:
    """Count a column's values where they are few and repeat; the entries of lists are counted one by one."""
    import polars as pl

    entry = kind.inner if isinstance(kind, pl.List) else kind
    if not (entry in (pl.String, pl.Boolean, pl.Categorical, pl.Enum) or entry.is_integer()):
        return None
    limit = _FEW_NUMBERS if entry.is_integer() else _FEW_VALUES
    counted: Counter[Any] = Counter()
    for values in column.slices(pl.col(column.name)):
        each = values.filter(values.list.len() > 0).explode() if isinstance(kind, pl.List) else values
        counted.update(dict(each.value_counts().iter_rows()))
        if len(counted) > limit:
            return None
    if not counted or len(counted) > max(_TWO, counted.total() // _TWO):
        return None
    if entry.is_integer():
        pairs = sorted(counted.items(), key=lambda pair: (pair[0] is None, pair[0] or 0))
    else:
        pairs = sorted(counted.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return bars_of({_word(value): count for value, count in pairs}, limit if entry.is_integer() else _SHOWN_WORDS)


def _word(value: Any) -> str:
    if value is None:
        return "(none)"
    return figure(value) if isinstance(value, bool) else str(value)
