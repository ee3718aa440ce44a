"""Bring the raw shapes to one: ``id, source, topic, conversation, meta``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs.validators import ge

import forge
from forge_counselling.answers import best_answers
from forge_counselling.statistics import describe
from forge_text import roles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

STOCK_PHRASES = (
    "同问",
    "抱抱",
    "抱抱你",
    "加油",
    "我也是",
    "看不懂",
    "说得好",
    "谢谢分享",
    "楼主后来怎么样了",
    "顶",
    "路过",
    "不知道",
    "嗯嗯",
    "好的",
)
_NOT_LETTER = r"[\s\x1c-\x1f，。！？!?,.、~～…；;：:]"
_ROW = "__row__"
_QUESTION_COLUMNS = {"id", "source", "title", "content", "tags", "answers"}
_DIALOGUE_COLUMNS = {"id", "source", "topic", "lines"}
_CONVERSATION_COLUMNS = {"id", "source", "topic", "conversation"}

THROWN_AWAY = "throw-away reply"
EMPTY_TURN = "empty turn"
NOT_CHOSEN = "answer not chosen"
REMARK = "stage direction"
UNLABELLED = "text before the first label"
STRANGE = "line that begins like a label nobody knows, now part of a turn"
SYSTEM = "system prompt, for which unified rows have no place"
_COUNTED = (THROWN_AWAY, EMPTY_TURN, NOT_CHOSEN, REMARK, UNLABELLED, STRANGE, SYSTEM)


@attrs.frozen
class Unify:
    """Bring questions and dialogues to ``id, source, topic, conversation[role, text], meta[tags, likes, answers]``.

    Labels are stripped, white space evened, personal data replaced by placeholders. A reply is thrown away when it is
    shorter than *least_reply* characters or says no more than one of *stock_phrases*. Of a question's answers the one
    with most likes stays, of equals the longest, of those the first; long ones that likes outdo count as not chosen,
    whatever they say. In dialogues a line without a label carries on the turn before it, and turns of one role in a row
    are joined; lines that begin like a label that nobody knows are counted. A dialogue's system prompt leaves, and is
    counted too.
    *remarks* says whether lines that are a stage direction alone, such as （一段时间后）, stay in the turn before them.
    """

    least_reply: int = attrs.field(default=8, validator=ge(0))
    stock_phrases: tuple[str, ...] = STOCK_PHRASES
    remarks: Literal["keep", "drop"] = "keep"

    def merge(self, tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
        """Unify every table and put them one after the other."""
        import polars as pl

        unified = []
        for name, table in tables.items():
            columns = set(table.collect_schema().names())
            if columns >= _QUESTION_COLUMNS:
                unified.append(self._questions(table))
            elif columns >= _DIALOGUE_COLUMNS:
                unified.append(self._dialogues(table, self._turns))
            elif columns >= _CONVERSATION_COLUMNS:
                unified.append(self._dialogues(table, self._told))
            else:
                raise forge.StepError(
                    f"input `{name}` has the columns {', '.join(f'`{column}`' for column in sorted(columns))}",
                    hint="give tables of `counselling.psyqa`, `counselling.cpsycound`, `counselling.cpsycoune`, "
                    "`counselling.questions` or `text.dialogue`",
                )
        return pl.concat(unified)

    def statistics(self, rows: pl.LazyFrame) -> Mapping[str, Any]:
        """Describe the unified table."""
        return describe(rows)

    def _questions(self, table: pl.LazyFrame) -> pl.LazyFrame:
        import polars as pl

        title, content = pl.col("title"), pl.col("content")
        table = table.with_row_index(_ROW)
        chosen = (
            table.with_columns(_clean(title), _clean(content))
            .with_columns(
                pl.when(content != "")
                .then(pl.concat_str(title, content, separator="\n"))
                .otherwise(title)
                .alias("question"),
                pl.col("answers").list.len().fill_null(0).cast(pl.Int64),
            )
            .join(
                best_answers(table, _ROW, self._thrown_away, self.least_reply),
                on=_ROW,
                how="left",
                maintain_order="left",
            )
        )
        conversation = pl.concat_list(
            pl.struct(pl.lit("user").alias("role"), pl.col("question").alias("text")),
            pl.struct(pl.lit("assistant").alias("role"), pl.col("text").alias("text")),
        )
        counts = {
            THROWN_AWAY: pl.col("answers") - pl.col("valid"),
            NOT_CHOSEN: (pl.col("valid") - 1).clip(lower_bound=0),
        }
        meta = pl.struct("tags", pl.col("likes").fill_null(0), "answers")
        marked = forge.drop(
            _tallied(chosen, counts),
            {"no question": pl.col("question") == "", "no usable reply": pl.col("text").is_null()},
        )
        return _final(marked, pl.col("tags").list.first().fill_null(""), conversation, meta)

    def _dialogues(
        self, table: pl.LazyFrame, read: Callable[[pl.LazyFrame], tuple[pl.LazyFrame, pl.LazyFrame]]
    ) -> pl.LazyFrame:
        import polars as pl

        table = table.with_row_index(_ROW).rename({"conversation": "__told__"}, strict=False)
        turns, counts = read(table)
        # Turns of one role in a row become one.
        begins = (pl.col("role") != pl.col("role").shift()) | (pl.col(_ROW) != pl.col(_ROW).shift())
        conversations = (
            turns.with_columns(begins.fill_null(value=True).cum_sum().alias("block"))
            .group_by("block", maintain_order=True)
            .agg(pl.col(_ROW).first(), pl.col("role").first(), pl.col("text").str.join("\n"))
            .group_by(_ROW, maintain_order=True)
            .agg(pl.struct("role", "text").alias("conversation"))
        )
        joined = table.join(conversations, on=_ROW, how="left", maintain_order="left").join(
            counts, on=_ROW, how="left", maintain_order="left"
        )
        number = pl.col("conversation").list.len().fill_null(0)
        reasons = {"no labelled turn": ~pl.col("labelled").fill_null(value=False), "under two turns": number < 2}  # noqa: PLR2004
        meta = pl.struct(
            pl.lit([], pl.List(pl.String)).alias("tags"),
            pl.lit(0, pl.Int64).alias("likes"),
            pl.lit(0, pl.Int64).alias("answers"),
        )
        tallies = {name: pl.col(name).fill_null(0) for name in _COUNTED if name not in (NOT_CHOSEN, SYSTEM)}
        if "system" in table.collect_schema():
            tallies[SYSTEM] = (pl.col("system").fill_null("") != "").cast(pl.Int64)
        marked = forge.drop(_tallied(joined, tallies), reasons)
        return _final(marked, pl.col("topic"), pl.col("conversation"), meta)

    def _turns(self, table: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Return the turns that stay, and per dialogue how many lines and turns don't."""
        import polars as pl

        lines = (
            table.select(_ROW, pl.col("lines").alias("line"))
            .explode("line", empty_as_null=False)
            .with_columns(pl.col("line").str.extract(roles.LABEL).alias("label"))
            .with_columns(
                roles.role(pl.col("label"), pl.col(_ROW)).alias("role"),
                pl.col("line").str.replace(roles.LABEL, "").alias("text"),
                # null, not looked at, where there is a label: most lines have one
                pl.when(pl.col("label").is_null())
                .then(pl.col("line"))
                .str.contains(roles.UNKNOWN_LABEL)
                .fill_null(value=False)
                .alias("strange"),
                (pl.lit(self.remarks == "drop") & pl.col("line").str.contains(roles.REMARK)).alias("remark"),
                # A dialogue's first line begins a turn even without a label, so no text passes to the next dialogue.
                (pl.col("label").is_not_null() | (pl.col(_ROW) != pl.col(_ROW).shift()).fill_null(value=True))
                .cum_sum()
                .alias("turn"),
            )
        )
        turns = lines.group_by("turn", maintain_order=True).agg(
            pl.col(_ROW).first(),
            pl.col("role").first(),
            pl.col("text").filter(~pl.col("remark")).str.join(" "),
            pl.len().alias("lines"),
            pl.col("remark").sum(),
            pl.col("strange").sum(),
        )
        return self._judged(turns)

    def _told(self, table: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Return the same of dialogues whose turns are known already."""
        import polars as pl

        turn = pl.col("__told__").struct
        turns = (
            table.select(_ROW, "__told__")
            .explode("__told__", empty_as_null=False)
            .select(
                _ROW,
                turn.field("role"),
                turn.field("text"),
                pl.lit(0, pl.UInt32).alias("remark"),
                pl.lit(0, pl.UInt32).alias("strange"),
            )
            .filter(pl.col("role").is_in(["user", "assistant"]))
        )
        return self._judged(turns)

    def _judged(self, turns: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Clean the turns and return those that stay, and per dialogue how many don't."""
        import polars as pl

        turns = turns.with_columns(_clean(pl.col("text")).alias("text")).with_columns(
            pl.when(pl.col("role").is_null())
            .then(pl.lit(UNLABELLED))
            .when(pl.col("text") == "")
            .then(pl.lit(EMPTY_TURN))
            .when((pl.col("role") == "assistant") & self._thrown_away(pl.col("text")))
            .then(pl.lit(THROWN_AWAY))
            .alias("left")
        )
        counts = turns.group_by(_ROW, maintain_order=True).agg(
            (pl.col("left") == THROWN_AWAY).sum().cast(pl.Int64).alias(THROWN_AWAY),
            (pl.col("left") == EMPTY_TURN).sum().cast(pl.Int64).alias(EMPTY_TURN),
            (pl.col("left") == UNLABELLED).sum().cast(pl.Int64).alias(UNLABELLED),
            pl.col("remark").sum().cast(pl.Int64).alias(REMARK),
            pl.col("strange").filter(pl.col("role").is_not_null()).sum().cast(pl.Int64).alias(STRANGE),
            pl.col("role").is_not_null().any().alias("labelled"),
        )
        return turns.filter(pl.col("left").is_null()).select(_ROW, "role", "text"), counts

    def _thrown_away(self, reply: pl.Expr) -> pl.Expr:
        between = f"{_NOT_LETTER}*"
        phrases = (between.join(map(re.escape, re.sub(_NOT_LETTER, "", phrase))) for phrase in self.stock_phrases)
        # Anchored, so a long reply is let go at its first letter.
        stock = rf"^{between}(?:{'|'.join(phrases)}){between}$"
        # so that a long one isn't counted to its end
        short = reply.str.head(self.least_reply).str.len_chars() < self.least_reply
        return short | reply.str.contains(stock)


def _clean(text: pl.Expr) -> pl.Expr:
    from forge_text.personal import tidied

    return tidied(text)


def _tallied(rows: pl.LazyFrame, counts: dict[str, pl.Expr]) -> pl.LazyFrame:
    """Tally *counts*, and 0 for the reasons that these rows can't have: all tables need the same columns."""
    import polars as pl

    return forge.tally(rows, {reason: counts.get(reason, pl.lit(0, pl.Int64)) for reason in _COUNTED})


def _final(rows: pl.LazyFrame, topic: pl.Expr, conversation: pl.Expr, meta: pl.Expr) -> pl.LazyFrame:
    """Select the unified columns, and the engine's own."""
    import polars as pl
    import polars.selectors as cs

    return rows.select(
        pl.col("id"),
        pl.col("source"),
        topic.alias("topic"),
        conversation.alias("conversation"),
        meta.alias("meta"),
        cs.starts_with("__dropped__", "__tally__"),
    )
