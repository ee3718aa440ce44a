"""Find personal data in Chinese text and put typed placeholders in its place.

Every rule looks at a *shadow* of the text: the same characters at the same offsets, full-width forms, and in a second
round Chinese digits too, replaced by ASCII. What a rule finds is masked in the shadow, so a later rule can't find it
again, and cut out of the real text at the end.
The order is e-mail, identity card, telephone, social accounts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forge_text import personal_patterns as patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    Span = tuple[int, int]
    Rule = Callable[[str], Iterator[Span]]

EMAIL = "[EMAIL]"
IDENTITY = "[ID]"
PHONE = "[PHONE]"
SOCIAL = "[SOCIAL]"

_WIDE_TO_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_PLAIN = _WIDE_TO_PLAIN | {ord(mark): "-" for mark in "‐‑‒–—―－−─"}
_DIGITS = {
    ord(character): str(value)
    for row in ("零一二三四五六七八九", "〇壹贰叁肆伍陆柒捌玖", "⓪①②③④⑤⑥⑦⑧⑨")
    for value, character in enumerate(row)
} | {ord("幺"): "1", ord("貳"): "2", ord("陸"): "6"}

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
_RIGHT = 16  # characters after a number that may belong to it: a unit, an extension
_LEAST_TELEPHONE = 7  # digits
_LEFT = 12  # characters before a number in which a word may say what the number is
_PLAUSIBLE_INTERNATIONAL = range(9, 16)  # digits, after ITU E.164
_REAL_DIGITS = range(6, 11)  # of the 11 of a mobile number written with letters for digits


def anonymise(text: str) -> str:
    """Return *text* with every piece of personal data replaced by its placeholder."""
    shadow = text.translate(_PLAIN)
    found: list[tuple[int, int, str]] = []
    for rule, placeholder in _FIRST_ROUND:
        shadow = _apply(rule, placeholder, shadow, found)
    digits = shadow.translate(_DIGITS)
    if digits != shadow:
        for rule, placeholder in _SECOND_ROUND:
            digits = _apply(rule, placeholder, digits, found)
    if not found:
        return text
    pieces, end = [], 0
    for start, stop, placeholder in sorted(found):
        pieces += [text[end:start], placeholder]
        end = stop
    return "".join([*pieces, text[end:]])


def anonymised(text: pl.Expr) -> pl.Expr:
    """Return the string expression *text* without personal data.

    Two wide regular expressions, supersets of the rules, pick the few texts that can hold any: the first is fast on
    all texts, the second closer. The exact rules, which need look-around, run on those alone.
    """
    import polars as pl

    return text.map_batches(_anonymise_series, return_dtype=pl.String, is_elementwise=True)


def _anonymise_series(texts: pl.Series) -> pl.Series:
    import polars as pl

    positions = texts.str.contains(patterns.WIDE).fill_null(value=False).arg_true()
    if len(positions):
        positions = positions.filter(texts.gather(positions).str.contains(patterns.NARROW))
    if not len(positions):
        return texts
    old = texts.gather(positions).to_list()
    new = [anonymise(text) for text in old]
    changed = [index for index, (before, after) in enumerate(zip(old, new, strict=True)) if before != after]
    if not changed:
        return texts
    # A series that stands in a lazy plan may be shared: scatter works on a copy.
    return texts.clone().scatter(positions.gather(changed), pl.Series([new[index] for index in changed]))


def valid_identity(number: str) -> bool:
    """Say whether 18 characters are an identity card's number: a birth date within, the right check digit."""
    month, day = int(number[10:12]), int(number[12:14])
    if number[6:8] not in {"18", "19", "20"} or not (1 <= month <= 12 and 1 <= day <= 31):  # noqa: PLR2004
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % 11] == number[17].upper()


def _apply(rule: Rule, placeholder: str, shadow: str, found: list[tuple[int, int, str]]) -> str:
    for start, stop in list(rule(shadow)):
        if "\0" in shadow[start:stop]:
            continue
        found.append((start, stop, placeholder))
        shadow = shadow[:start] + "\0" * (stop - start) + shadow[stop:]
    return shadow


def _emails(shadow: str) -> Iterator[Span]:
    if _names(shadow, patterns.EMAIL_WORDS):
        for expression in patterns.EMAILS:
            for match in expression.finditer(shadow):
                yield match.span("value") if "value" in expression.groupindex else match.span()


def _identities(shadow: str) -> Iterator[Span]:
    for match in patterns.IDENTITY.finditer(shadow):
        number = re.sub(r"[^0-9Xx]", "", match.group())
        named = patterns.IDENTITY_WORD.search(shadow, max(0, match.start() - _LEFT), match.start())
        if named or valid_identity(number):
            yield match.span()
    for match in patterns.OLD_IDENTITY.finditer(shadow):
        yield match.span("value")


def _numbers(expressions: tuple[re.Pattern[str], ...], shadow: str) -> Iterator[re.Match[str]]:
    """Yield what *expressions* find in the few runs of *shadow* that hold digits enough for a telephone."""
    for run in patterns.NUMBER_RUN.finditer(shadow):
        if sum(map(str.isdigit, run.group())) >= _LEAST_TELEPHONE:
            for expression in expressions:
                yield from expression.finditer(shadow, run.start(), run.end() + _RIGHT)


def _mobiles(shadow: str) -> Iterator[Span]:
    for match in _numbers(patterns.MOBILES, shadow):
        if not patterns.OTHER_NUMBER.search(shadow, max(0, match.start() - _LEFT), match.start()):
            yield match.span()
    for match in patterns.MOBILE_WITH_LETTERS.finditer(shadow):
        if sum(map(str.isdigit, match.group())) in _REAL_DIGITS:
            yield match.span()


def _landlines(shadow: str) -> Iterator[Span]:
    for match in (*_numbers(patterns.LANDLINES, shadow), *patterns.NAMED_LANDLINE.finditer(shadow)):
        left = max(0, match.start() - _LEFT), match.start("value")
        if not (patterns.OTHER_NUMBER.search(shadow, *left) or patterns.HOTLINE_WORD.search(shadow, *left)):
            yield match.span("value")


def _international(shadow: str) -> Iterator[Span]:
    for match in _numbers((patterns.INTERNATIONAL,), shadow):
        if sum(character.isdigit() for character in match.group()) in _PLAUSIBLE_INTERNATIONAL:
            yield match.span()


def _names(shadow: str, words: tuple[str, ...]) -> bool:
    """Say whether any of *words* is there: a cheap look before expressions that are slow on long texts."""
    lower = shadow.lower()
    return any(word in lower for word in words)


def _qq_numbers(shadow: str) -> Iterator[Span]:
    if _names(shadow, patterns.QQ_WORDS):
        for expression in patterns.QQ_NUMBERS:
            for match in expression.finditer(shadow):
                yield match.span()


def _accounts(shadow: str) -> Iterator[Span]:
    expressions: tuple[re.Pattern[str], ...] = ()
    if _names(shadow, patterns.WECHAT_WORDS):
        expressions += patterns.WECHAT_ACCOUNTS
    if _names(shadow, patterns.PLATFORM_WORDS):
        expressions += patterns.PLATFORM_ACCOUNTS
    if expressions:
        expressions += patterns.ACCOUNTS_BEFORE_NAMES
    for expression in expressions:
        for match in expression.finditer(shadow):
            if match["value"].lower() not in patterns.ORDINARY_WORDS:
                yield match.span()


_FIRST_ROUND: tuple[tuple[Rule, str], ...] = (
    (_emails, EMAIL),
    (_identities, IDENTITY),
    (_mobiles, PHONE),
    (_landlines, PHONE),
    (_international, PHONE),
    (_qq_numbers, SOCIAL),
    (_accounts, SOCIAL),
)
_SECOND_ROUND: tuple[tuple[Rule, str], ...] = (
    (_identities, IDENTITY),
    (_mobiles, PHONE),
    (_landlines, PHONE),
    (_qq_numbers, SOCIAL),
)
