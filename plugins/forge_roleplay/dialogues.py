"""Bring a persona's dialogues into the shape of the other samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs.validators import min_len

import forge
from forge_roleplay.cleaning import Keep, cleaned, lines_losing
from forge_roleplay.persona import Persona, need

if TYPE_CHECKING:
    import polars as pl


@attrs.frozen(kw_only=True)
class Dialogues(Persona):
    """Make ``id, source, kind, passage, system, conversation`` of what `text.dialogue` gives.

    A dialogue keeps its own system prompt; one without takes the persona's. *directions* and *emoji* say whether
    stage directions and emoji stay; turns that lose one are counted. A dialogue in which a turn has no words left is
    dropped.
    """

    directions: Keep = "keep"
    emoji: Keep = "keep"
    kind: str = attrs.field(default="persona", validator=min_len(1))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Clean the turns and fill in the prompt."""
        import polars as pl
        import polars.selectors as cs

        names = need(rows, ["id", "source", "conversation"])
        turn = pl.element().struct
        said = cleaned(turn.field("text"), directions=self.directions, emoji=self.emoji)
        losing = lines_losing(turn.field("text"), directions=self.directions, emoji=self.emoji)
        lost = {what: pl.col("conversation").list.eval(held).list.sum() for what, held in losing.items()}
        cleaned_turns = pl.struct(turn.field("role"), said.alias("text"))
        own = pl.col("system").str.strip_chars().replace("", None) if "system" in names else pl.lit(None, pl.String)
        rows = forge.tally(rows, lost).select(
            "id",
            "source",
            pl.lit(self.kind).alias("kind"),
            pl.col("id").alias("passage"),
            pl.coalesce(own, pl.lit(self.prompt(), dtype=pl.String)).alias("system"),
            pl.col("conversation").list.eval(cleaned_turns),
            cs.starts_with("__tally__"),
        )
        wordless = pl.col("conversation").list.eval(turn.field("text") == "").list.any().fill_null(value=True)
        return forge.drop(rows, {"a turn without words": wordless})
