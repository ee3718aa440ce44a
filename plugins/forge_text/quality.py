"""Row filters by what texts are made of: scripts, kinds of characters, replies that say nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import attrs
from attrs.validators import and_, deep_mapping, ge, in_, le, min_len

import forge
from forge_text.normalise import comparable, is_conversation, text_of

if TYPE_CHECKING:
    import polars as pl

CLASSES = {
    "han": r"\p{Han}",
    "latin": r"\p{Latin}",
    "letters": r"\p{L}",
    "digits": r"\p{N}",
    "punctuation": r"\p{P}",
    "symbols": r"\p{S}",
    "spaces": r"\s",
}
"""Kinds of characters, as Rust's regular expressions name them."""

_SCRIPTS = {"zh": ("Chinese", r"\p{Han}"), "en": ("English", r"\p{Latin}+")}
_ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}"
_WORDS = rf"[{_ALONE}]|[\p{{L}}&&[^{_ALONE}]]+"
"""What counts once where languages are told apart: a character of these scripts, a run of letters of any other."""
THROW_AWAY = (
    "同问", "同求", "同上", "顶", "帮顶", "路过", "围观", "沙发", "板凳", "马克", "mark", "+1", "加一",
    "我也是", "我也一样", "抱抱", "抱抱你", "抱抱楼主", "摸摸头", "加油", "楼主加油", "看不懂", "说得好", "说得对",
    "不知道", "嗯嗯", "嗯", "好的", "哦", "谢谢", "谢谢分享", "感谢分享", "楼主后来怎么样了", "后来怎么样了",
    "same", "same here", "me too", "bump", "following", "thanks", "thank you", "lol", "ok", "hugs", "no idea",
)  # fmt: skip
"""Replies that say nothing: all of a text may be one of them, or several."""

_SHARE: Callable[..., None] = and_(ge(0.0), le(1.0))
_SHARES = deep_mapping(key_validator=in_(CLASSES), value_validator=_SHARE)


@attrs.frozen
class Language:
    """Keep rows whose *column* is written in *language*, told by its script.

    At least the share *least* must be Han characters (``zh``) or Latin words (``en``), a word counting as much as a
    character; digits, punctuation and emoji count for nothing. A text without letters is dropped too.
    """

    column: str
    language: Literal["zh", "en"]
    least: float = attrs.field(default=0.5, validator=and_(ge(0), le(1)))

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark the others."""
        text = text_of(self.column, rows).fill_null("")
        name, script = _SCRIPTS[self.language]
        words = text.str.count_matches(_WORDS)
        return forge.drop(
            rows,
            {
                "no letters": words == 0,
                f"not {name}: under {self.least:g} of it": text.str.count_matches(script) / words < self.least,
            },
        )


@attrs.frozen
class Characters:
    """Keep rows whose *column* has at most, or at least, a share of some kind of character.

    The kinds are ``han``, ``latin``, ``letters``, ``digits``, ``punctuation``, ``symbols`` (emoji among them) and
    ``spaces``: ``most = { digits = 0.3, punctuation = 0.4 }``. A text without characters has no share of anything.
    """

    column: str
    most: dict[str, float] = attrs.field(factory=dict, validator=_SHARES)
    least: dict[str, float] = attrs.field(factory=dict, validator=_SHARES)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark the rows beyond a bound."""
        import polars as pl

        text = text_of(self.column, rows).fill_null("")
        length = pl.max_horizontal(text.str.len_chars(), 1)

        def share(kind: str) -> pl.Expr:
            return text.str.count_matches(CLASSES[kind]) / length

        over = {f"{kind} over {bound:g} of the text": share(kind) > bound for kind, bound in self.most.items()}
        under = {f"{kind} under {bound:g} of the text": share(kind) < bound for kind, bound in self.least.items()}
        return forge.drop(rows, over | under)


@attrs.frozen
class ThrowAway:
    """Take away replies that say nothing: 同问, 抱抱你, +1, me too.

    A text goes if it is made of *phrases* alone, whatever stands between them, or holds no letter or digit at all.
    Where *column* is a conversation, turns of *role* go, and rows that are left without one; where it is text, rows.
    """

    column: str
    phrases: tuple[str, ...] = attrs.field(default=THROW_AWAY, validator=min_len(1))
    role: str = "assistant"

    def __attrs_post_init__(self) -> None:
        """Refuse a phrase that would match every text."""
        for phrase in self.phrases:
            if not _compared(phrase):
                message = f"`phrases` holds `{phrase}`, which has no letter or digit"
                raise ValueError(message)

    def transform(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Mark rows, or cut turns and mark the rows that are left without."""
        import polars as pl

        kind = rows.collect_schema().get(self.column)
        if not is_conversation(kind):
            text = text_of(self.column, rows)
            return forge.drop(rows, {"throw-away reply": self._empty(text.fill_null(""))})
        turn = pl.element().struct
        mine = turn.field("role") == self.role
        gone = mine & self._empty(turn.field("text").fill_null(""))
        left = rows.with_columns(
            pl.col(self.column).list.len().cast(pl.Int64).alias("__before__"),
            pl.col(self.column).list.eval(pl.element().filter(~gone.fill_null(value=False))),
        )
        lost = pl.col("__before__") - pl.col(self.column).list.len().cast(pl.Int64)
        has_reply = pl.col(self.column).list.eval(mine).list.any()
        counted = forge.tally(left, {"throw-away reply": lost})
        bare = ~has_reply.fill_null(value=False) & (lost > 0)
        return forge.drop(counted, {f"no turn of `{self.role}` left": bare}).drop("__before__")

    def _empty(self, text: pl.Expr) -> pl.Expr:
        phrases = sorted({_compared(phrase) for phrase in self.phrases}, key=lambda phrase: (-len(phrase), phrase))
        said = comparable(text).str.replace_all(r"\p{S}", "")  # a smile says nothing more
        return said.str.contains(f"^(?:{'|'.join(map(re.escape, phrases))})*$")


def _compared(phrase: str) -> str:
    """Return a phrase as `comparable` makes it, without symbols."""
    kept = [c for c in unicodedata.normalize("NFKC", phrase) if unicodedata.category(c)[0] in "LMN"]
    return "".join(kept).lower()
