"""Text that machines put there: a phrase said again and again to the end, lines that many rows share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import and_, ge, gt, le, optional

import forge
from forge_text.normalise import is_conversation, text_of

if TYPE_CHECKING:
    import polars as pl

    Cut = Callable[[pl.Expr], pl.Expr]

_TAIL = 8  # characters of a text's end that must stand in it several times before it is looked at closely
_LONGEST = 300  # characters of a phrase that is looked for
_AGAIN = "says the same again and again"
_SENTENCE = r"[^。！？!?\n]+"
_NEW = "__new__"
_LOST = "__lost__"


def _rewritten(rows: pl.LazyFrame, column: str, cut: Cut) -> pl.LazyFrame:
    """Return *rows* with *column* cut in the column `_NEW`, and the characters that each row loses in `_LOST`."""
    import polars as pl

    before = text_of(column, rows).str.len_chars().cast(pl.Int64).fill_null(0)
    if is_conversation(rows.collect_schema()[column]):
        field = cut(pl.element().struct.field("text")).alias("text")
        new = pl.col(column).list.eval(pl.element().struct.with_fields(field))
    else:
        new = cut(pl.col(column))
    changed = rows.with_columns(new.alias(_NEW))
    after = text_of(_NEW, changed).str.len_chars().cast(pl.Int64).fill_null(0)
    return changed.with_columns((before - after).alias(_LOST))


@attrs.frozen
class Loops:
    """Find texts that end in one phrase said over and over, as a model does that doesn't know where to stop.

    The repeated part makes up at least *characters* and holds its phrase at least *times* times.
    *action* ``drop`` drops the row, ``cut`` leaves the first of the repeats standing.
    A loop of several sentences, with small changes, has no such end: a row goes, whatever *action* says, when more than
    the share *repeated* of its text, all turns together, are sentences that it holds already.
    """

    column: str
    times: int = attrs.field(default=4, validator=ge(2))
    characters: int = attrs.field(default=60, validator=ge(2 * _TAIL))
    action: Literal["drop", "cut"] = "drop"
    repeated: float = attrs.field(default=0.5, validator=and_(gt(0), le(1)))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Cut the loops, or mark the rows that would be cut."""
        import polars as pl

        found = _rewritten(rows, self.column, self._cut)
        if self.action == "drop":
            reasons = {"ends in a loop": pl.col(_LOST) > 0, _AGAIN: self._again(found)}
            return forge.drop(found, reasons).drop(_NEW, _LOST)
        cut = forge.tally(found.with_columns(pl.col(_NEW).alias(self.column)), {"characters of a loop": pl.col(_LOST)})
        return forge.drop(cut, {_AGAIN: self._again(cut)}).drop(_NEW, _LOST)

    def _again(self, rows: pl.LazyFrame) -> pl.Expr:
        """Say whether too much of a text are sentences that it holds already."""
        import polars as pl

        sentences = text_of(self.column, rows).fill_null("").str.extract_all(_SENTENCE)
        lengths = pl.element().str.len_chars()
        total = sentences.list.eval(lengths).list.sum()
        once = sentences.list.unique().list.eval(lengths).list.sum()
        return (total >= self.characters) & (once < (1 - self.repeated) * total)

    def _cut(self, text: pl.Expr) -> pl.Expr:
        import polars as pl

        return text.map_batches(self._cut_series, return_dtype=pl.String, is_elementwise=True)

    def _cut_series(self, texts: pl.Series) -> pl.Series:
        import polars as pl

        text = pl.col("text")
        gate = text.str.count_matches(text.str.tail(_TAIL), literal=True) >= 2  # noqa: PLR2004  # a loop says it again
        long = text.str.len_chars() >= self.characters
        places = texts.to_frame("text").select((long & gate).fill_null(value=False)).to_series().arg_true()
        cut = [
            (place, end)
            for place, old in zip(places.to_list(), texts.gather(places).to_list(), strict=True)
            if (end := loop(old, times=self.times, characters=self.characters)) is not None
        ]
        if not cut:
            return texts
        new = pl.Series([texts[place][:end] for place, end in cut], dtype=pl.String)
        return texts.clone().scatter(pl.Series([place for place, _ in cut], dtype=pl.UInt32), new)


def loop(text: str, *, times: int, characters: int) -> int | None:
    """Return where the first saying of the phrase ends that *text* says to its end; None if it ends in none."""
    text = text.rstrip()
    for period in range(1, min(_LONGEST, len(text) // times) + 1):
        tail = min(_TAIL, period)
        if text[-tail:] != text[-tail - period : -period]:
            continue
        run = period
        while run < len(text) and text[-1 - run] == text[-1 - run + period]:
            run += 1
        if run >= max(characters, times * period):
            return len(text) - run + period
    return None


@attrs.frozen
class Boilerplate:
    """Cut out phrases and lines that aren't anybody's words, or drop the rows that hold them.

    *phrases* go wherever they stand. Lines (trimmed) that stand in more than the share *shared* of the rows, and in
    *least_rows* of them at least, go whole. ``action = "drop"`` drops rows that would lose anything; with ``"cut"`` a
    row goes only when nothing is left of its text.
    """

    column: str
    phrases: tuple[str, ...] = ()
    shared: float | None = attrs.field(default=None, validator=optional(and_(gt(0), le(1))))
    least_rows: int = attrs.field(default=10, validator=ge(2))
    action: Literal["cut", "drop"] = "cut"

    def __attrs_post_init__(self) -> None:
        """Refuse a step that looks for nothing."""
        if not all(phrase.strip() for phrase in self.phrases):
            message = "`phrases` holds an empty one"
            raise ValueError(message)
        if not self.phrases and self.shared is None:
            message = "nothing is looked for: give `phrases`, `shared` or both"
            raise ValueError(message)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Cut, and mark the rows that are left empty; or mark all that would be cut."""
        import polars as pl

        lines = self._shared_lines(rows)
        found = _rewritten(rows, self.column, lambda text: self._cut(text, lines))
        if self.action == "drop":
            return forge.drop(found, {"holds boilerplate": pl.col(_LOST) > 0}).drop(_NEW, _LOST)
        cut = found.with_columns(pl.col(_NEW).alias(self.column))
        empty = (pl.col(_LOST) > 0) & (text_of(self.column, cut).str.strip_chars() == "")
        counted = forge.tally(cut, {"characters of boilerplate": pl.col(_LOST)})
        return forge.drop(counted, {"boilerplate alone": empty}).drop(_NEW, _LOST)

    def _shared_lines(self, rows: pl.LazyFrame) -> list[str]:
        """Return the lines that too many rows hold."""
        import polars as pl

        if self.shared is None:
            return []
        texts = rows.select(text_of(self.column, rows).alias("line")).with_row_index("row").collect()
        counts = (
            texts.with_columns(pl.col("line").str.split("\n"))
            .explode("line")
            .with_columns(pl.col("line").str.strip_chars())
            .filter(pl.col("line") != "")
            .group_by("line")
            .agg(pl.col("row").n_unique().alias("rows"))
        )
        common = (pl.col("rows") >= self.least_rows) & (pl.col("rows") > self.shared * texts.height)
        return counts.filter(common)["line"].sort().to_list()

    def _cut(self, text: pl.Expr, lines: list[str]) -> pl.Expr:
        import polars as pl

        if self.phrases:
            text = text.str.replace_many(list(self.phrases), [""] * len(self.phrases), leftmost=True)
        if lines:
            escaped = "|".join(pl.Series(lines).str.escape_regex().to_list())
            pattern = rf"(?m)^[^\S\n]*(?:{escaped})[^\S\n]*(?:\n|$)"
            text = text.str.replace_all(pattern, "").str.strip_chars_end("\n")
        return text
