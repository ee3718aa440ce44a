"""Choose the conversations of students, and trim conversations to what a small model can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import ge, min_len

import forge
from forge_counselling.statistics import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

QUESTIONS = ("PsyQA",)
# fmt: off
STUDENT_WORDS = (
    "学生", "学校", "校园", "大学", "高中", "初中", "高三", "高考", "中考", "考研", "考试", "学习", "成绩",
    "作业", "老师", "同学", "舍友", "室友", "宿舍", "班主任", "辅导员", "毕业", "论文", "专业课", "上课",
)
MENTAL_WORDS = ("抑郁", "焦虑", "压力", "自卑", "失眠", "自杀", "自残", "孤独", "情绪", "强迫", "恐惧", "崩溃")
STUDENT_TAGS = ("学习", "学业", "校园", "考试", "人际", "成长", "情绪", "抑郁", "焦虑")
# fmt: on


@attrs.frozen
class Student:
    """Keep the conversations of students.

    A dialogue needs one of *words* in its topic or any turn. A row whose source is among *questions* needs one in the
    question, and beside it one of *mental_words* there or one of *tags* among its tags.
    """

    words: tuple[str, ...] = attrs.field(default=STUDENT_WORDS, validator=min_len(1))
    mental_words: tuple[str, ...] = MENTAL_WORDS
    tags: tuple[str, ...] = STUDENT_TAGS
    questions: tuple[str, ...] = QUESTIONS

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark the others with what they lack."""
        import polars as pl

        question = pl.col("conversation").list.first().struct.field("text")
        asked = pl.col("source").is_in(list(self.questions))
        texts = pl.col("conversation").list.eval(_holds(pl.element().struct.field("text"), self.words))
        dialogue = _holds(pl.col("topic"), self.words) | texts.list.any()
        tagged = pl.col("meta").struct.field("tags").list.eval(pl.element().is_in(list(self.tags))).list.any()
        student = pl.when(asked).then(_holds(question, self.words)).otherwise(dialogue)
        mental = ~asked | tagged | _holds(question, self.mental_words)
        return forge.drop(
            rows,
            {
                "no word of student life": ~student.fill_null(value=False),
                "no mental topic": ~mental.fill_null(value=False),
            },
        )

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Describe the students' table."""
        return describe(rows)


@attrs.frozen
class Trim:
    """Drop replies under *least_reply* characters and keep the tail of *characters* and *turns*.

    The last turn always stays. Rows whose source is among *whole* keep their length. A row without a reply, or with
    one turn alone, is dropped.
    """

    least_reply: int = attrs.field(default=80, validator=ge(0))
    characters: int = attrs.field(default=2000, validator=ge(1))
    turns: int = attrs.field(default=12, validator=ge(2))
    whole: tuple[str, ...] = QUESTIONS

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Rewrite the conversations and mark the rows that are left without one."""
        import polars as pl

        turn = pl.element().struct
        long_enough = (turn.field("role") == "user") | (turn.field("text").str.len_chars() >= self.least_reply)
        length = turn.field("text").str.len_chars().cast(pl.Int64)
        from_end = pl.len() - pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
        in_tail = (from_end == 0) | ((length.cum_sum(reverse=True) <= self.characters) & (from_end < self.turns))
        before = pl.col("conversation").list.len().cast(pl.Int64)
        replied = rows.with_columns(
            before.alias("__before__"),
            pl.col("conversation").list.eval(pl.element().filter(long_enough)).alias("conversation"),
        )
        trimmed = replied.with_columns(
            before.alias("__replied__"),
            pl.when(pl.col("source").is_in(list(self.whole)))
            .then(pl.col("conversation"))
            .otherwise(pl.col("conversation").list.eval(pl.element().filter(in_tail)))
            .alias("conversation"),
        )
        has_reply = pl.col("conversation").list.eval(turn.field("role") == "assistant").list.any()
        counted = forge.tally(
            trimmed,
            {
                f"reply under {self.least_reply} characters": pl.col("__before__") - pl.col("__replied__"),
                "turn before the tail": pl.col("__replied__") - before,
            },
        )
        reasons = {"no reply left": ~has_reply.fill_null(value=False), "one turn left": before < 2}  # noqa: PLR2004
        return forge.drop(counted, reasons).drop("__before__", "__replied__")

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Describe the trimmed table."""
        return describe(rows)


def _holds(text: pl.Expr, words: tuple[str, ...]) -> pl.Expr:
    import polars as pl

    return text.str.contains_any(list(words)) if words else pl.lit(value=False)
