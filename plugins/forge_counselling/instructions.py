"""Turn labelled conversations into instruction, input and output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import ge, min_len, optional

import forge

if TYPE_CHECKING:
    import polars as pl

DEPRESSION = range(4)
ANXIETY = range(4)
RISKS = ("none", "suicidal", "self_harm", "violence")
DISTRESS = range(10)

INSTRUCTION = (
    "阅读下面的心理咨询对话，评估来访者的心理状态。只输出一个JSON对象，依次含四个键："
    '"depression_level"（抑郁程度，0到3的整数）、"anxiety_level"（焦虑程度，0到3的整数）、'
    '"risk_flag"（风险，取none、suicidal、self_harm、violence之一）、'
    '"student_distress_score"（困扰总分，0到9的整数）。不要输出其他内容。'
)
_LABELS = ("depression_level", "anxiety_level", "risk_flag", "student_distress_score")
_NAMES = {"user": "来访者：", "assistant": "咨询师："}
_LONGEST_NAME = max(map(len, _NAMES.values()))


@attrs.frozen
class Instructions:
    """Make ``id, source, instruction, input, output`` from unified rows with the four labels beside them.

    ``input`` is the conversation, a turn a line behind 来访者： or 咨询师：; *turns* leaves the counsellor's words out.
    *characters* keeps whole turns from its end, and of a last turn that is longer alone the end.
    ``output`` is a JSON object, its four keys in order.
    """

    instruction: str = attrs.field(default=INSTRUCTION, validator=min_len(1))
    turns: Literal["all", "user"] = "all"
    characters: int | None = attrs.field(default=None, validator=optional(ge(_LONGEST_NAME + 1)))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Render the rows; those without labels, or with labels out of their range, are dropped."""
        import polars as pl

        names = rows.collect_schema().names()
        missing = [label for label in _LABELS if label not in names]
        if missing:
            raise forge.StepError(
                f"the rows have no label column {', '.join(f'`{label}`' for label in missing)}",
                hint="put a labeler before this step",
            )
        there = rows.collect_schema().names()
        missing = [name for name in ("id", "source", "conversation", *_LABELS) if name not in there]
        if missing:
            have = ", ".join(f"`{name}`" for name in there)
            raise forge.StepError(f"the rows have no column `{missing[0]}`", hint=f"they have {have}")
        unlabelled = pl.any_horizontal(pl.col(label).is_null() for label in _LABELS)
        in_range = (
            pl.col("depression_level").is_in(list(DEPRESSION))
            & pl.col("anxiety_level").is_in(list(ANXIETY))
            & pl.col("risk_flag").is_in(list(RISKS))
            & pl.col("student_distress_score").is_in(list(DISTRESS))
        )
        if self.turns == "user":
            own = pl.element().filter(pl.element().struct.field("role") == "user")
            rows = rows.with_columns(pl.col("conversation").list.eval(own))
        marked = forge.drop(
            rows,
            {
                "no labels": unlabelled,
                "label out of range": ~in_range,
                "no conversation": pl.col("conversation").list.len().fill_null(0) == 0,
            },
        )
        return marked.select(
            pl.col("id"),
            pl.col("source"),
            pl.lit(self.instruction).alias("instruction"),
            self._rendered().alias("input"),
            _output().alias("output"),
            pl.col("__dropped__"),
        )

    def _rendered(self) -> pl.Expr:
        import polars as pl

        turn = pl.element().struct
        name = turn.field("role").replace_strict(_NAMES, return_dtype=pl.String)
        line = pl.concat_str(name, turn.field("text"))
        if self.characters is None:
            return pl.col("conversation").list.eval(line).list.join("\n")
        length = line.str.len_chars().cast(pl.Int64) + 1  # with the line end
        from_end = pl.len() - pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
        in_tail = length.cum_sum(reverse=True) <= self.characters + 1
        room = self.characters - name.str.len_chars().cast(pl.Int64)
        cut = pl.when(in_tail).then(line).otherwise(pl.concat_str(name, turn.field("text").str.tail(room)))
        return pl.col("conversation").list.eval(cut.filter(in_tail | (from_end == 0))).list.join("\n")


def _output() -> pl.Expr:
    """Write the labels as JSON, in the order and with the blanks of Python's ``json.dumps``."""
    import polars as pl

    numbers = {
        name: pl.col(name).cast(pl.Int64, strict=False).cast(pl.String) for name in _LABELS if name != "risk_flag"
    }
    return pl.concat_str(
        pl.lit('{"depression_level": '),
        numbers["depression_level"],
        pl.lit(', "anxiety_level": '),
        numbers["anxiety_level"],
        pl.lit(', "risk_flag": "'),
        pl.col("risk_flag"),
        pl.lit('", "student_distress_score": '),
        numbers["student_distress_score"],
        pl.lit("}"),
    )
