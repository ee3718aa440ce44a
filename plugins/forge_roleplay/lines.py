"""Lines of text with their speakers: read from plays, and cleaned."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
from attrs.validators import min_len

import forge
from forge_roleplay.cleaning import Keep, cleaned, lines_losing
from forge_roleplay.persona import need

if TYPE_CHECKING:
    import polars as pl

_NAME = r"^[^\S\n]*([^\s：:][^：:\n]{0,39}?)[^\S\n]*[：:][^\S\n]*(?:\n|(.))"
"""A name of at most 40 characters at the start, a colon of either width, and the speech on this line or the next."""

_NUMBERS = r"^[^：:\n]*\d[：:]\d"
"""Digits on both sides of the first colon: `12:30`, `3:16`."""


def _is_pattern(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for pattern in value:
        try:
            re.compile(pattern)
        except re.error as error:
            message = f"`{attribute.name}` holds `{pattern}`, which is no regular expression: {error}"
            raise ValueError(message) from None


@attrs.frozen(kw_only=True)
class Speakers:
    """Part speeches (``NAME:`` on a line of its own or before the words) into the columns ``speaker`` and ``text``.

    *column* holds a speech a row, as `files.text` gives them with ``each = "paragraph"``; one without a name leaves,
    and a colon between two digits (``12:30``) ends no name.
    """

    column: str = attrs.field(default="text", validator=min_len(1))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Read the names and take them from the text."""
        import polars as pl

        need(rows, [self.column])
        speech = pl.col(self.column)
        named = pl.when(~speech.str.contains(_NUMBERS)).then(speech)
        speaker = named.str.extract(_NAME, 1).str.strip_chars()
        said = pl.coalesce(named.str.replace(_NAME, "$2"), speech).str.strip_chars()
        marked = forge.drop(rows, {"no name before the speech": speaker.is_null()})
        return marked.with_columns(speaker.alias("speaker"), said.alias("text"))


@attrs.frozen(kw_only=True)
class Lines:
    """Clean lines ``text``: one blank for tabs and runs of blanks; lines in which nothing is left are dropped.

    *directions* and *emoji* say whether stage directions (``（叹气）``, ``*sighs*``) and emoji stay; lines that lose
    one are counted. A line of
    *character* in which one of the regular expressions *foreign* is found was said by somebody else and is dropped:
    extraction by a model or a rule puts some lines into the wrong mouth, those that call the character by name first
    of all (``^悟空[，！]``).
    """

    directions: Keep = "keep"
    emoji: Keep = "keep"
    character: str = ""
    foreign: tuple[str, ...] = attrs.field(default=(), validator=_is_pattern)

    def __attrs_post_init__(self) -> None:
        """Refuse patterns for nobody's lines."""
        if self.foreign and not self.character:
            message = "`foreign` speaks of the lines of `character`, which is not given"
            raise ValueError(message)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Clean the texts and mark the lines that leave."""
        import polars as pl

        names = need(rows, ["text", "speaker"] if self.foreign else ["text"])
        text = cleaned(pl.col("text").cast(pl.String), directions=self.directions, emoji=self.emoji)
        lost = pl.col("text").cast(pl.String)
        rows = forge.tally(rows, lines_losing(lost, directions=self.directions, emoji=self.emoji)).with_columns(text)
        if "speaker" in names:
            rows = rows.with_columns(pl.col("speaker").cast(pl.String).str.strip_chars())
        reasons = {"no words": pl.col("text") == ""}
        if self.foreign:
            table = rows.collect()
            found = [
                speaker == self.character and any(re.search(pattern, words) for pattern in self.foreign)
                for speaker, words in table.select("speaker", "text").iter_rows()
            ]
            rows = table.lazy().with_columns(pl.Series("__foreign__", found, dtype=pl.Boolean))
            reasons["somebody else's words"] = pl.col("__foreign__")
            return forge.drop(rows, reasons).drop("__foreign__")
        return forge.drop(rows, reasons)
