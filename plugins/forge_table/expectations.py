"""`check.table`: expectations of a table, declared in the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import and_, ge, le, min_len, optional

import forge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import polars as pl

_EXAMPLES = 3


@attrs.frozen
class Band:
    """Give the least and the most that a figure may be, both allowed."""

    least: float | None = None
    most: float | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse a band that bounds nothing, or that nothing fits in."""
        if self.least is None and self.most is None:
            message = "give `least`, `most` or both"
            raise ValueError(message)
        if self.least is not None and self.most is not None and self.least > self.most:
            message = f"`least` is {self.least:g}, over `most`, which is {self.most:g}"
            raise ValueError(message)

    def holds(self, *figures: float | None) -> bool:
        """Say whether all *figures* lie in the band; one that is missing does not."""
        return all(
            figure is not None
            and (self.least is None or figure >= self.least)
            and (self.most is None or figure <= self.most)
            for figure in figures
        )

    def __str__(self) -> str:
        if self.least is None:
            return f"at most {self.most:g}"
        return f"at least {self.least:g}" if self.most is None else f"{self.least:g} to {self.most:g}"


@attrs.frozen
class Column:
    """Say what is expected of one column; it must be there, even where nothing else is said of it.

    *type* is its Polars type (``String``, ``Int64``, ``List``); *nulls* the greatest share of nulls.
    *values* bounds numbers, *length* the characters of strings or the entries of lists.
    *allowed* are the only values; *matches* is a regular expression (Rust's) found in every string.
    *shares* bounds how much of the rows a value makes up: the distribution of a label.
    *at_odds* is the greatest share of rows that may break *values*, *length*, *allowed* or *matches*.
    """

    type: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    nulls: float | None = attrs.field(default=None, validator=optional(and_(ge(0), le(1))))
    unique: bool = False
    values: Band | None = None
    length: Band | None = None
    allowed: tuple[bool | int | float | str, ...] = ()
    matches: str | None = attrs.field(default=None, validator=optional(min_len(1)))
    shares: dict[str, Band] = attrs.field(factory=dict)
    at_odds: float = attrs.field(default=0.0, validator=and_(ge(0), le(1)))


@attrs.frozen
class TableCheck:
    """Check what is declared of a table: each expectation is a figure beside its bound.

    *rows* bounds how many there are; *columns* says what each column holds; *only* refuses other columns.
    *unique* names columns that together tell rows apart.
    """

    rows: Band | None = None
    columns: dict[str, Column] = attrs.field(factory=dict)
    only: bool = False
    unique: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse a check that expects nothing."""
        if self.rows is None and not self.columns and not self.unique:
            message = "nothing is expected: give `rows`, `columns` or `unique`"
            raise ValueError(message)

    def check(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> Iterable[forge.Finding]:
        """Yield the findings of every input."""
        del out, run
        for name, artifact in inputs.items():
            before = f"{name}: " if len(inputs) > 1 else ""
            for finding in self._findings(artifact.rows()):
                yield attrs.evolve(finding, name=before + finding.name)

    def _findings(self, rows: pl.LazyFrame) -> Iterator[forge.Finding]:
        import polars as pl

        schema = rows.collect_schema()
        height = int(rows.select(pl.len()).collect().item())
        if self.rows is not None:
            yield forge.Finding("rows", height, str(self.rows), self.rows.holds(height))
        if self.only:
            others = [name for name in schema if name not in self.columns]
            yield forge.Finding("columns not declared", len(others), 0, not others, _listed(others))
        if self.unique:
            yield _repeats(rows, self.unique)
        for name, expected in self.columns.items():
            if name not in schema:
                yield forge.Finding(
                    f"column `{name}`", "missing", "present", passed=False, detail=_listed(list(schema))
                )
                continue
            yield from _column(rows.select(name).collect()[name], expected)


def _column(column: pl.Series, expected: Column) -> Iterator[forge.Finding]:
    """Yield what is found of one column."""
    import polars as pl

    kind, name = column.dtype, column.name
    if expected.type is not None:
        fits = expected.type in {str(kind), kind.base_type().__name__}
        yield forge.Finding(f"type of `{name}`", str(kind), expected.type, fits)
    if expected.nulls is not None:
        yield _share(f"nulls of `{name}`", column, column.is_null(), expected.nulls)
    if expected.unique:
        yield _repeats(column.to_frame().lazy(), (name,))
    present = column.drop_nulls()
    if expected.values is not None:
        _want(column, kind.is_numeric(), "values", "a number")
        yield _banded(f"values of `{name}`", present, present, expected.values, expected.at_odds)
    if expected.length is not None:
        _want(column, kind == pl.String or isinstance(kind, pl.List), "length", "text or a list")
        lengths = present.str.len_chars() if kind == pl.String else present.list.len()
        yield _banded(f"length of `{name}`", present, lengths, expected.length, expected.at_odds)
    if expected.allowed:
        allowed = {_word(value) for value in expected.allowed}
        other = pl.Series([_word(value) not in allowed for value in present.to_list()], dtype=pl.Boolean)
        yield _share(f"`{name}` not among the allowed", present, other, expected.at_odds)
    if expected.matches is not None:
        _want(column, kind == pl.String, "matches", "text")
        yield _share(f"`{name}` not matching", present, ~_matches(present, expected.matches), expected.at_odds)
    counts = {_word(value): count for value, count in column.value_counts().iter_rows()} if expected.shares else {}
    for value, band in expected.shares.items():
        share = counts.get(value, 0) / max(len(column), 1)
        detail = f"{counts.get(value, 0)} of {len(column)}"
        yield forge.Finding(f"share of `{value}` in `{name}`", share, str(band), band.holds(share), detail)


def _banded(name: str, present: pl.Series, figures: pl.Series, band: Band, at_odds: float) -> forge.Finding:
    """Return the range of *figures* beside the band, or the share outside of it where some may be."""
    import polars as pl

    frame = pl.DataFrame({"figure": figures})
    outside = ~frame.select(
        (pl.col("figure") >= (band.least if band.least is not None else pl.col("figure")))
        & (pl.col("figure") <= (band.most if band.most is not None else pl.col("figure")))
    ).to_series()
    found = _share(name, present, outside, at_odds)
    if at_odds:
        return attrs.evolve(found, name=f"{name} outside of {band}")
    low, high = (figures.min(), figures.max()) if len(figures) else (None, None)
    return attrs.evolve(found, value=f"{_word(low)} to {_word(high)}", bound=str(band))


def _share(name: str, column: pl.Series, bad: pl.Series, most: float) -> forge.Finding:
    """Return the share of rows that are *bad*, with the first of them."""
    places = bad.fill_null(value=False).arg_true()
    share = len(places) / max(len(column), 1)
    first = ", ".join(f"`{_word(value)[:60]}`" for value in column.gather(places.head(_EXAMPLES)).to_list())
    detail = f"{len(places)} of {len(column)}" + (f": {first}" if len(places) and first else "")
    return forge.Finding(name, share, most, share <= most, detail)


def _repeats(rows: pl.LazyFrame, columns: Sequence[str]) -> forge.Finding:
    """Return how many rows repeat an earlier one in *columns*."""
    import polars as pl

    missing = [name for name in columns if name not in rows.collect_schema()]
    named = " + ".join(f"`{name}`" for name in columns)
    if missing:
        return forge.Finding(f"repeats of {named}", "missing", 0, passed=False, detail=f"no column {_listed(missing)}")
    chosen = rows.select(columns).collect()
    repeated = chosen.filter(~pl.struct(columns).is_first_distinct())
    first = _listed([_word(row[0] if len(columns) == 1 else row) for row in repeated.head(_EXAMPLES).rows()])
    return forge.Finding(f"repeats of {named}", repeated.height, 0, repeated.height == 0, first)


def _matches(texts: pl.Series, expression: str) -> pl.Series:
    import polars as pl

    try:
        return texts.str.contains(expression)
    except pl.exceptions.ComputeError as error:
        raise forge.StepError(
            f"`matches` of column `{texts.name}` is no regular expression: `{expression}`", hint=str(error)
        ) from error


def _want(column: pl.Series, fits: bool, parameter: str, wanted: str) -> None:  # noqa: FBT001
    if not fits:
        raise forge.StepError(
            f"`{parameter}` of column `{column.name}` wants {wanted}, the column holds {column.dtype}",
            hint=f"take `{parameter}` away, or name another column",
        )


def _word(value: Any) -> str:
    """Return a value as manifests write it; the float 1.0 and the integer 1 are one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
