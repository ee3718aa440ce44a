"""Choose the answer of a question that stays, and clean no more of the others than it takes to count them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

_MOST_LIKES, _LENGTHS = 2**40, 2**22
"""More likes than the one are taken for it, and no more characters than the other are counted: both make one number."""
_LONG = 768
"""Bytes (256 Chinese characters) from which an answer counts as no throw-away, as long as another outdoes it."""
_WIDEST = 4
"""Bytes of a character at most."""


def best_answers(
    table: pl.LazyFrame, row: str, thrown_away: Callable[[pl.Expr], pl.Expr], least: int = 0
) -> pl.LazyFrame:
    """Return a row a question with its best answer: *row*, ``text``, ``likes``, and ``valid``, the answers that count.

    The best has most likes, of equals the longest, of those the first; what *thrown_away* says of a cleaned text
    (all of fewer characters than *least* among it) can't be it, and ``text`` is null where that leaves none.
    Short answers are cleaned first, since those may be thrown away, then the long ones that have most likes of what is
    left, and where those are thrown away too, all that have as many likes as the best that is known to stay.
    """
    import polars as pl

    from forge_text.personal import tidied  # its regular expressions take a tenth of a second

    said, text, liked, usable = (pl.col(name) for name in ("said", "text", "liked", "usable"))
    answer = pl.col("answers").struct

    def cleaned(frame: pl.LazyFrame, which: pl.Expr) -> pl.LazyFrame:
        """Clean and judge the texts for which *which* holds."""
        return (
            frame.with_columns(which.alias("now"))
            .with_columns(pl.coalesce(text, tidied(pl.when("now").then(said))).alias("text"))
            .with_columns(pl.when("now").then(~thrown_away(text)).otherwise(usable).alias("usable"))
        )

    each = (
        table.select(row, "answers")
        .explode("answers", empty_as_null=True, keep_nulls=True)
        .select(
            row,
            answer.field("text").alias("said"),
            answer.field("likes"),
            answer.field("likes").clip(0, _MOST_LIKES).fill_null(0).alias("liked"),
            pl.lit(None, pl.String).alias("text"),
            pl.lit(None, pl.Boolean).alias("usable"),
        )
        .with_columns((said.str.len_bytes() >= max(_LONG, _WIDEST * least)).alias("long"))
    )
    each = cleaned(each, ~pl.col("long"))
    stands = pl.col("long") | usable  # as far as is known by now
    each = cleaned(each, pl.col("long") & (liked == pl.when(stands).then(liked).max().over(row)))
    sure = pl.when(usable).then(liked).max().over(row)
    each = cleaned(each, text.is_null() & (sure.is_null() | (liked >= sure)))
    worth = pl.when(usable).then(liked * _LENGTHS + text.str.len_chars().clip(upper_bound=_LENGTHS - 1)).arg_max()
    valid = pl.coalesce(usable, pl.col("long")).sum().cast(pl.Int64).alias("valid")
    return each.group_by(row, maintain_order=True).agg(text.get(worth), pl.col("likes").get(worth), valid)
