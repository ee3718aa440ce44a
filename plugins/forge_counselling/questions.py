"""Bring tables of questions and answers, a row an answer, to the shape of questions with their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import min_len

import forge
from forge_counselling.psyqa import likes

if TYPE_CHECKING:
    import polars as pl

_ROW = "__row__"


@attrs.frozen(kw_only=True)
class Questions:
    """Make ``id, source, title, content, tags, answers[text, likes]`` of rows that hold one answer each.

    Rows that agree in the columns *group* (without them, in *title* and *content*) are answers of one question, in
    the order of the rows. *likes* is a column of counts in any spelling, *tags* are columns. ``id`` is *source* and
    the values of the columns *id*, without them of *group*, else the question's number.
    """

    source: str = attrs.field(validator=min_len(1))
    title: str
    answer: str
    content: str | None = None
    likes: str | None = None
    tags: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    id: tuple[str, ...] = ()

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Gather the answers; the first row of a question stays, with all of them."""
        import polars as pl

        self._check(rows.collect_schema().names())
        text = pl.col(self.answer).cast(pl.String)
        title = pl.col(self.title).cast(pl.String).fill_null("")
        content = pl.col(self.content).cast(pl.String).fill_null("") if self.content else pl.lit("")
        count = likes(pl.col(self.likes).cast(pl.String)) if self.likes else pl.lit(0, pl.Int64)
        group = [pl.col(name) for name in self.group] or [title, content]
        row = pl.col(_ROW)
        answers = pl.struct(text.alias("text"), count.alias("likes"))
        number = (row == row.first().over(group)).cum_sum().cast(pl.String)
        names = [pl.col(name).cast(pl.String).fill_null("") for name in self.id or self.group] or [number]
        tags = [pl.col(name).cast(pl.String) for name in self.tags]
        known = pl.concat_list(tags).list.drop_nulls() if tags else pl.lit([], pl.List(pl.String))
        made = rows.with_row_index(_ROW).select(
            pl.concat_str(pl.lit(self.source), *names, separator="_").alias("id"),
            pl.lit(self.source).alias("source"),
            title.alias("title"),
            content.alias("content"),
            known.alias("tags"),
            answers.over(group, mapping_strategy="join").alias("answers"),
            (row == row.first().over(group)).alias("__first__"),
        )
        present = pl.element().struct.field("text").is_not_null()
        return forge.drop(
            made.with_columns(pl.col("answers").list.eval(pl.element().filter(present))),
            {
                "answer joined to its question": ~pl.col("__first__"),
                "no question": (pl.col("title") == "") & (pl.col("content") == ""),
            },
        ).drop("__first__")

    def _check(self, there: list[str]) -> None:
        wanted = [self.title, self.answer, self.content, self.likes, *self.tags, *self.group, *self.id]
        for name in wanted:
            if name is not None and name not in there:
                raise forge.StepError(
                    f"there is no column `{name}`", hint=f"the table has {', '.join(f'`{column}`' for column in there)}"
                )
