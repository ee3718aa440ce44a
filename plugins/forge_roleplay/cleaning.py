"""What stands in a line beside the words: tabs, stage directions, emoji."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

Keep = Literal["keep", "drop"]

_DIRECTION = r"（[^（）]*）|\([^()]*\)|【[^【】]*】|\[[^\[\]]*\]|\*[^*\n]*\p{L}[^*\n]*\*"
"""Words in brackets of either width, or with a letter between two asterisks: what is done, not said (`2*3*4` is)."""

_JOINERS = r"[\x{1F1E6}-\x{1F1FF}\x{1F3FB}-\x{1F3FF}\x{FE0F}\x{200D}\x{20E3}]"
_EMOJI = rf"[\p{{Extended_Pictographic}}--[©®™]]|{_JOINERS}"
"""Pictures, flags, skin tones, and what joins them; `©`, `®` and `™` are signs of writing."""


def cleaned(text: pl.Expr, *, directions: Keep, emoji: Keep) -> pl.Expr:
    """Return *text* with one blank for tabs and runs of blanks and without what is to be dropped, never null."""
    text = text.fill_null("").str.replace_all(r"\r\n?", "\n")
    if directions == "drop":
        text = text.str.replace_all(_DIRECTION, "")
    if emoji == "drop":
        text = text.str.replace_all(_EMOJI, "")
    text = text.str.replace_all(r"[\t\x{A0} ]+", " ").str.replace_all(r" ?\n[ \n]*", "\n")
    return text.str.strip_chars()


def lines_losing(text: pl.Expr, *, directions: Keep, emoji: Keep) -> dict[str, pl.Expr]:
    """Return what to tally: whether *text* loses stage directions or emoji, as far as they are to be dropped."""
    import polars as pl

    dropped = {
        "line without its stage directions": (directions, _DIRECTION),
        "line without its emoji": (emoji, _EMOJI),
    }
    return {
        what: text.str.contains(pattern).fill_null(value=False).cast(pl.Int64)
        for what, (keep, pattern) in dropped.items()
        if keep == "drop"
    }
