"""Find personal data in Chinese and English text and put placeholders or pseudonyms in its place.

Every rule (`forge_text.personal_rules`) looks at a *shadow* of the text: the same characters at the same offsets,
full-width forms, and in a second round Chinese digits too, replaced by ASCII. What a rule finds is masked in the
shadow, so a later rule can't find it again, and cut out of the real text at the end.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

import attrs

from forge_text import personal_gates as gates
from forge_text import personal_words as words
from forge_text.normalise import UNEVEN, even_spaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from forge_text.personal_rules import Rule

    Replace = Callable[["Item"], str]

EVERYWHERE = frozenset({words.EMAIL, words.IDENTITY, words.PHONE, words.QQ, words.WECHAT, words.SOCIAL})
"""The kinds that are looked for unless told otherwise."""

PLACEHOLDERS = {kind: f"[{kind}]" for kind in (*EVERYWHERE, words.BANK, words.PASSPORT)} | {
    words.QQ: "[SOCIAL]",
    words.WECHAT: "[SOCIAL]",
}

_WIDE_TO_PLAIN = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {"\u3000": " "}
_PLAIN = _WIDE_TO_PLAIN | dict.fromkeys("‐‑‒–—―－−─", "-") | words.TRADITIONAL
_HAN_DIGITS = {
    character: str(value)
    for row in ("零一二三四五六七八九", "〇壹贰叁肆伍陆柒捌玖")
    for value, character in enumerate(row)
} | dict(zip("幺貳陸洞拐勾两", "1260792", strict=True))
_AT = re.compile(
    rf"\s*(?:[\[({{【<]\s*(?:at|@|艾特)\s*[\])}}】>]|[艾爱]特|[{words.ANIMALS}]|圈a|小?老鼠|[_-]at[_-]|\sat\s|在|#|@)\s*"
)
_DOT = re.compile(r"\s*(?:[\[({【<]\s*(?:dot|点|\.)\s*[\])}】>]|[_-]dot[_-]|\bdot\b|。|点|,|\.)\s*")
_UNTIDY = f"{UNEVEN}|{gates.WIDE}"
_PSEUDONYM = 5  # bytes: a million items share one with a chance under one half
_CHINA_CODES = ("0086", "86")
_MOBILE_DIGITS = 11
_LETTER_DIGITS = str.maketrans("oli", "011")


@attrs.frozen
class Item:
    """Hold one piece of personal data: where it stands, its kind, and the part of it that identifies."""

    start: int
    stop: int
    kind: str
    value: str


@attrs.frozen
class _Exchange:
    """Put other characters in the place of some, none of which is put in a place itself.

    A text has few kinds of them, which an expression finds; `str.translate` looks up each character of the text, and
    takes several times as long.
    """

    by: dict[str, str]
    likely: re.Pattern[str]

    @classmethod
    def of(cls, by: dict[str, str]) -> _Exchange:
        """Return what exchanges the keys of *by* for their values."""
        # beyond the first plane an expression would look at one character after the other
        first = "".join(character for character in by if character <= "\uffff")
        return cls(by, re.compile(f"[{re.escape(first)}\U00010000-\U0010ffff]"))

    def __call__(self, text: str) -> str:
        """Return *text* with all of them exchanged."""
        for character in self.by.keys() & set(self.likely.findall(text)):
            text = text.replace(character, self.by[character])
        return text


@cache
def _to_plain() -> _Exchange:
    """Return what puts ASCII in the place of full-width forms."""
    return _Exchange.of(_PLAIN)


@cache
def _to_digits() -> _Exchange:
    """Return what puts a digit in the place of all that stands for one: Chinese, circled, of another script."""
    characters = filter(str.isdigit, map(chr, range(0x80, 0x20000)))
    return _Exchange.of({character: str(unicodedata.digit(character)) for character in characters} | _HAN_DIGITS)


def find(text: str, kinds: frozenset[str] = EVERYWHERE) -> list[Item]:
    """Return the personal data of *text* in the order of its places."""
    from forge_text import personal_rules as rules  # compiles a hundred expressions

    shadow = _to_plain()(text)
    found: list[Item] = []
    for rule, kind in rules.FIRST_ROUND:
        if kind in kinds:
            shadow = _apply(rule, kind, shadow, found)
    digits = _to_digits()(shadow)
    if digits != shadow:
        for rule, kind in rules.SECOND_ROUND:
            if kind in kinds:
                digits = _apply(rule, kind, digits, found)
    return sorted(found, key=lambda item: item.start)


def placeholder(item: Item) -> str:
    """Return the typed placeholder."""
    return PLACEHOLDERS[item.kind]


def pseudonyms(key: bytes) -> Replace:
    """Return what gives an item the same name wherever it stands and however it is spelled, for as long as *key* is."""

    def replace(item: Item) -> str:
        spelled = f"{item.kind}\0{canonical(item)}".encode()
        name = hmac.new(key, spelled, hashlib.sha256).hexdigest()[: 2 * _PSEUDONYM]
        return f"{PLACEHOLDERS[item.kind][:-1]}-{name}]"

    return replace


def canonical(item: Item) -> str:
    """Return what identifies *item*, free of the ways in which it can be spelled."""
    value = _to_digits()(item.value).lower()
    if item.kind == words.EMAIL:
        return _DOT.sub(".", _AT.sub("@", value))
    if item.kind in (words.WECHAT, words.SOCIAL):
        return value.removeprefix("@")
    kept = re.sub(r"[^0-9x]" if item.kind == words.IDENTITY else r"[^0-9a-z]", "", value)
    if item.kind == words.QQ:
        return re.sub(r"[^0-9]", "", value)
    return _telephone(value) if item.kind == words.PHONE else kept


def _telephone(value: str) -> str:
    """Return a telephone's digits as they are dialled within China; letters may stand for some of them."""
    digits = re.sub(r"[^0-9]", "", value.translate(_LETTER_DIGITS))
    for code in _CHINA_CODES:
        if digits.startswith(code) and len(digits) - len(code) >= _MOBILE_DIGITS - 1:
            national = digits[len(code) :]
            return national if national[0] in "01" and len(national) >= _MOBILE_DIGITS else f"0{national}"
    return digits


def anonymise(text: str, replace: Replace = placeholder, kinds: frozenset[str] = EVERYWHERE) -> str:
    """Return *text* with every piece of personal data replaced."""
    found = find(text, kinds)
    if not found:
        return text
    pieces, end = [], 0
    for item in found:
        pieces += [text[end : item.start], replace(item)]
        end = item.stop
    return "".join([*pieces, text[end:]])


def anonymised(text: pl.Expr, replace: Replace = placeholder, kinds: frozenset[str] = EVERYWHERE) -> pl.Expr:
    """Return the string expression *text* without personal data.

    Two wide regular expressions, supersets of the rules, pick the few texts that can hold any: the first is fast on
    all texts, the second closer. The exact rules, which need look-around, run on those alone.
    """
    import polars as pl

    def anonymise_series(texts: pl.Series) -> pl.Series:
        changed = [(place, new) for place, old in suspects(texts) if (new := anonymise(old, replace, kinds)) != old]
        if not changed:
            return texts
        places = pl.Series([place for place, _ in changed], dtype=pl.UInt32)
        # A series that stands in a lazy plan may be shared: scatter works on a copy.
        return texts.clone().scatter(places, pl.Series([new for _, new in changed]))

    return text.map_batches(anonymise_series, return_dtype=pl.String, is_elementwise=True)


def tidied(text: pl.Expr) -> pl.Expr:
    """Return the string expression *text* with even spaces and without personal data.

    The same as `even_spaces` and `anonymised` one after the other, in one pass over the texts that need neither.
    """
    import polars as pl

    def tidy(texts: pl.Series) -> pl.Series:
        places = _holding(texts, _UNTIDY)
        if not len(places):
            return texts
        changed = texts.gather(places).to_frame("text").select(anonymised(even_spaces(pl.col("text")))).to_series()
        # A series that stands in a lazy plan may be shared: scatter works on a copy.
        return texts.clone().scatter(places, changed)

    return text.map_batches(tidy, return_dtype=pl.String, is_elementwise=True)


def suspects(texts: pl.Series) -> Iterator[tuple[int, str]]:
    """Yield place and text of each string that may hold personal data."""
    import polars as pl

    text = pl.col("text")
    positions = _holding(texts, gates.WIDE)
    if not len(positions):
        return
    chosen = texts.gather(positions)
    # one column each, since the columns of a selection are computed beside each other
    each = chosen.to_frame("text").select(text.str.contains(p).alias(str(i)) for i, p in enumerate(gates.NARROW))
    likely = each.select(pl.any_horizontal(pl.all())).to_series()
    yield from zip(positions.filter(likely).to_list(), chosen.filter(likely).to_list(), strict=True)


def _holding(texts: pl.Series, pattern: str) -> pl.Series:
    """Return the places of the texts that *pattern* matches; a series' own methods would run on one core."""
    import polars as pl

    if not texts.null_count():
        return texts.to_frame("text").select(pl.col("text").str.contains(pattern)).to_series().arg_true()
    given = texts.is_not_null().arg_true()  # Polars would match the text that may stand behind a null
    return given.gather(_holding(texts.gather(given), pattern))


def _apply(rule: Rule, kind: str, shadow: str, found: list[Item]) -> str:
    for start, stop, value in list(rule(shadow)):
        if "\0" in shadow[start:stop]:
            continue
        found.append(Item(start, stop, kind, value))
        shadow = shadow[:start] + "\0" * (stop - start) + shadow[stop:]
    return shadow
