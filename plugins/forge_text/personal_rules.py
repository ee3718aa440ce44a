"""The rules that find personal data in a shadow of the text; `forge_text.personal` says what a shadow is."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from forge_text import personal_accounts as accounts
from forge_text import personal_patterns as patterns
from forge_text.personal_words import BANK, EMAIL, IDENTITY, PASSPORT, PHONE, QQ, SOCIAL, WECHAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Hit = tuple[int, int, str]
    Rule = Callable[[str], Iterator[Hit]]

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
_RIGHT = 16  # characters after a number that may belong to it: a unit, an extension
_LEAST_IDENTITY = 15  # digits of an old card's number
_LEAST_TELEPHONE = 7  # digits
_LEFT = 12  # characters before a number in which a word may say what the number is
_PLAUSIBLE_INTERNATIONAL = range(9, 16)  # digits, after ITU E.164
_REAL_DIGITS = range(6, 11)  # of the 11 of a mobile number written with letters for digits
_SPOKEN = (
    {word: str(max(0, place - 1)) for place, word in enumerate(patterns.SPOKEN_WORDS)}
    | patterns.PINYIN_DIGITS
    | {digit: digit for digit in "0123456789"}
)
_LEAST_SPOKEN = 3  # words of a telephone that is said partly in words and partly in digits
_SPOKEN_LENGTHS = (7, 10, 11)  # digits of such a telephone
_DIGEST = 6  # hexadecimal digits around a number that make it a part of theirs
_TIMES = {"double": 2, "triple": 3}


def valid_identity(number: str) -> bool:
    """Say whether 18 characters are an identity card's number: a birth date within, the right check digit."""
    month, day = int(number[10:12]), int(number[12:14])
    if number[6:8] not in {"18", "19", "20"} or not (1 <= month <= 12 and 1 <= day <= 31):  # noqa: PLR2004
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True))
    return _CHECK_DIGITS[total % 11] == number[17].upper()


def valid_card(number: str) -> bool:
    """Say whether digits end in the check digit of ISO/IEC 7812 (Luhn)."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0  # noqa: PLR2004


def _hit(match: re.Match[str], *, whole: bool = False) -> Hit:
    """Return what goes (all that matched, or its group ``value``) and what identifies it."""
    named = "value" in match.re.groupindex
    start, stop = match.span("value") if named and not whole else match.span()
    return start, stop, match["value"] if named else match.group()


def _named(shadow: str, words: tuple[str, ...]) -> bool:
    """Say whether any of *words* is there, hidden or not: a cheap look before slow expressions."""
    bare = _bare(shadow)
    for word in words:  # `any` over a generator takes twice as long  # noqa: SIM110
        if word in bare:
            return True
    return False


@lru_cache(maxsize=2)
def _bare(shadow: str) -> str:
    """Return lower case without the marks that hide a name by standing in it."""
    lower = shadow.lower()
    for mark in " *·./_-":
        lower = lower.replace(mark, "")
    return lower


def _left(shadow: str, match: re.Match[str], expression: re.Pattern[str], reach: int = _LEFT) -> bool:
    """Say whether *expression* stands shortly before what matched."""
    end = match.start("value") if "value" in match.re.groupindex else match.start()
    return expression.search(shadow, max(0, match.start() - reach), end) is not None


def _other_number(shadow: str, match: re.Match[str]) -> bool:
    """Say whether the words before call a number that of an order, a pupil, a price."""
    return _left(shadow, match, patterns.OTHER_NUMBER, 2 * _LEFT)


def _called_telephone(shadow: str, match: re.Match[str]) -> bool:
    """Say whether the words before or after call a number that of a telephone."""
    before = _left(shadow, match, patterns.TELEPHONE_WORD, 2 * _LEFT)
    return before or patterns.TELEPHONE_AFTER.match(shadow, match.end()) is not None


def _measured(shadow: str, match: re.Match[str]) -> bool:
    """Say whether what matched belongs to another number: one of something else, a decimal, a digest."""
    return _other_number(shadow, match) or _decimal(shadow, match) or _digest(shadow, match)


def _digest(shadow: str, match: re.Match[str]) -> bool:
    """Say whether what matched are the digits between the letters of a longer hexadecimal number."""
    before = patterns.HEXADECIMAL_BEFORE.search(shadow, max(0, match.start() - _DIGEST), match.start())
    after = patterns.HEXADECIMAL.match(shadow, match.end())
    around = (before.group() if before else "") + (after.group() if after else "")
    return len(around) >= _DIGEST and not around.isdigit()


def _decimal(shadow: str, match: re.Match[str]) -> bool:
    """Say whether what matched are decimals, rather than an entry of a numbered list (``1.138…``)."""
    if patterns.FRACTION.fullmatch(match.group()):
        return not _called_telephone(shadow, match)
    if not _left(shadow, match, patterns.DECIMAL):
        return False
    if match.group().startswith(patterns.CIRCLE):
        return True
    words = (patterns.LIST_NUMBER, patterns.TELEPHONE_WORD)
    return not any(_left(shadow, match, expression, 2 * _LEFT) for expression in words)


def _emails(shadow: str) -> Iterator[Hit]:
    if _named(shadow, patterns.EMAIL_WORDS):
        for expression in patterns.EMAILS:
            for match in expression.finditer(shadow):
                if not patterns.SITE.match(match.group()):
                    yield _hit(match)


def _identities(shadow: str) -> Iterator[Hit]:
    if all(digits < _LEAST_IDENTITY for _, _, digits in _runs(shadow)):
        return
    for match in patterns.IDENTITY.finditer(shadow):
        number = re.sub(r"[^0-9Xx]", "", match.group())
        if _left(shadow, match, patterns.IDENTITY_WORD) or valid_identity(number):
            yield _hit(match)
    for match in patterns.OLD_IDENTITY.finditer(shadow):
        yield _hit(match)


def _numbers(expressions: tuple[re.Pattern[str], ...], shadow: str) -> Iterator[re.Match[str]]:
    """Yield what *expressions* find in the few runs of *shadow* that hold digits enough for a telephone."""
    for start, stop, digits in _runs(shadow):
        if digits >= _LEAST_TELEPHONE:
            for expression in expressions:
                yield from expression.finditer(shadow, start, stop + _RIGHT)


@lru_cache(maxsize=2)
def _runs(shadow: str) -> list[tuple[int, int, int]]:
    """Return where digits stand with no more between them than belongs into numbers, and how many they are."""
    return [(*run.span(), sum(map(str.isdigit, run.group()))) for run in patterns.NUMBER_RUN.finditer(shadow)]


def _mobiles(shadow: str) -> Iterator[Hit]:
    for match in _numbers(patterns.MOBILES, shadow):
        if not _measured(shadow, match):
            yield _hit(match)
    for match in patterns.MOBILE_WITH_LETTERS.finditer(shadow):
        if sum(map(str.isdigit, match.group())) in _REAL_DIGITS:
            yield _hit(match)
    for expression in patterns.MOBILES_APART:
        for match in expression.finditer(shadow):
            yield _hit(match)


def _mobiles_told(shadow: str) -> Iterator[Hit]:
    """Yield mobile numbers that are told backwards or in parts."""
    for expression in patterns.MOBILES_BACKWARDS if _named(shadow, patterns.BACKWARDS_WORDS) else ():
        for match in expression.finditer(shadow):
            if not _other_number(shadow, match):
                yield *match.span("value"), match["value"][::-1]
    for match in patterns.MOBILE_IN_PARTS.finditer(shadow):
        parts = re.sub(r"[^0-9]", "", match.group())
        told = len(re.findall(r"[0-9]+", match.group())) > 2 or _called_telephone(shadow, match)  # noqa: PLR2004
        if told and patterns.MOBILE.fullmatch(parts):
            yield match.start(), match.end(), parts


def _landlines(shadow: str) -> Iterator[Hit]:
    for match in (*_numbers(patterns.LANDLINES, shadow), *patterns.NAMED_LANDLINE.finditer(shadow)):
        if not (_left(shadow, match, patterns.HOTLINE_WORD) or _measured(shadow, match)):
            yield _hit(match)


def _landlines_with_letters(shadow: str) -> Iterator[Hit]:
    for match in patterns.LANDLINE_WITH_LETTERS.finditer(shadow):
        if sum(map(str.isdigit, match.group())) >= _LEAST_TELEPHONE and _left(shadow, match, patterns.TELEPHONE_WORD):
            yield _hit(match)


def _named_numbers(shadow: str) -> Iterator[Hit]:
    for match in _numbers(patterns.NAMED_NUMBERS, shadow):
        if (
            _called_telephone(shadow, match)
            and not _other_number(shadow, match)
            and not _left(shadow, match, patterns.HOTLINE_WORD)
        ):
            yield _hit(match)


def _international(shadow: str) -> Iterator[Hit]:
    for match in _numbers((patterns.INTERNATIONAL,), shadow):
        if sum(character.isdigit() for character in match.group()) in _PLAUSIBLE_INTERNATIONAL:
            yield _hit(match)


def _spoken(shadow: str) -> Iterator[Hit]:
    if _named(shadow, patterns.SPOKEN_HINTS):
        for expression in patterns.SPOKEN_NUMBERS:
            for match in expression.finditer(shadow):
                digits = _spoken_digits(match.group().lower())
                steps = {int(second) - int(first) for first, second in itertools.pairwise(digits)}
                # counting up or down is no number
                if len(steps) > 2 or patterns.MOBILE.fullmatch(digits):  # noqa: PLR2004
                    yield match.start(), match.end(), digits
        for match in patterns.SPOKEN_IN_PART.finditer(shadow):
            said = match.group().rstrip(" ,.-")
            digits = _spoken_digits(said.lower())
            words = len(digits) - sum(map(str.isdigit, said))
            if words >= _LEAST_SPOKEN and len(digits) in _SPOKEN_LENGTHS and _called_telephone(shadow, match):
                yield match.start(), match.start() + len(said), digits


def _spoken_digits(spoken: str) -> str:
    """Return the digits of a number in English words or in pinyin, which may be written without blanks."""
    words = patterns.SPOKEN_WORD.findall(spoken)
    times = [1, *(_TIMES.get(word, 1) for word in words)]
    return "".join(_SPOKEN[word] * count for word, count in zip(words, times, strict=False) if word in _SPOKEN)


def _qq_numbers(shadow: str) -> Iterator[Hit]:
    if _named(shadow, accounts.QQ_WORDS):
        for expression in accounts.QQ_NUMBERS:
            for match in expression.finditer(shadow):
                yield _hit(match)


def _accounts(shadow: str, expressions: tuple[re.Pattern[str], ...]) -> Iterator[Hit]:
    for expression in expressions:
        for match in expression.finditer(shadow):
            if _is_account(match):
                yield _hit(match, whole=True)


def _accounts_after(
    shadow: str, names: re.Pattern[str], after: tuple[re.Pattern[str], ...], mine: tuple[re.Pattern[str], ...] = ()
) -> Iterator[Hit]:
    """Yield what follows on any of *names*, with the name; what is in *mine* follows on ``my`` and a name only."""
    start = 0
    while name := names.search(shadow, start):
        start = name.start() + 1  # one name may begin within another: 加微信
        expressions = (*after, *mine) if mine and _left(shadow, name, accounts.MINE) else after
        for expression in expressions:
            match = expression.match(shadow, name.end())
            if match and _is_account(match):
                yield name.start(), match.end(), match["value"]
                break


def _is_account(match: re.Match[str]) -> bool:
    value = match["value"].lower()
    around = max(0, match.start() - _LEFT), match.end()
    if accounts.COMPOUND.fullmatch(value) and not accounts.COMPOUND_MARK.search(match.string, *around):
        return False
    return value not in accounts.ORDINARY_WORDS and not accounts.RESOLUTION.fullmatch(value)


def _wechat_accounts(shadow: str) -> Iterator[Hit]:
    if _named(shadow, accounts.WECHAT_WORDS):
        yield from _accounts_after(shadow, accounts.CALLED_WECHAT, accounts.AFTER_CALLED_WECHAT)
        yield from _accounts_after(shadow, accounts.WECHAT, accounts.AFTER_WECHAT)
        yield from _accounts(shadow, accounts.WECHAT_ALONE)


def _platform_accounts(shadow: str) -> Iterator[Hit]:
    platforms = _named(shadow, accounts.PLATFORM_WORDS)
    if platforms:
        yield from _accounts_after(shadow, accounts.PLATFORM, accounts.AFTER_PLATFORM, mine=accounts.AFTER_MY_PLATFORM)
        yield from _accounts(shadow, accounts.PLATFORM_ALONE)
    if platforms or _named(shadow, accounts.WECHAT_WORDS):
        yield from _accounts(shadow, accounts.BEFORE_NAMES)


def _accounts_near(shadow: str) -> Iterator[Hit]:
    """Yield what can only be an account in the sentence of a service's name, or behind a word for getting in touch."""
    for match in accounts.SOUGHT.finditer(shadow):
        yield _hit(match)
    if not (_named(shadow, accounts.PLATFORM_WORDS) or _named(shadow, accounts.WECHAT_WORDS)):
        return
    for sentence in accounts.SENTENCE.finditer(shadow):
        found = list(accounts.UNDERLINED.finditer(shadow, *sentence.span()))
        if accounts.CUE.search(shadow, *sentence.span()):
            found += accounts.CUED.finditer(shadow, *sentence.span())
        names = _names(shadow, sentence) if found else []
        for match in found:
            if _is_account(match) and any(_is_near(match.span("value"), name) for name in names):
                yield _hit(match)


def _names(shadow: str, sentence: re.Match[str]) -> list[tuple[int, int]]:
    """Return where services are named in a sentence, but for those of groups: 微信群."""
    found = itertools.chain.from_iterable(name.finditer(shadow, *sentence.span()) for name in accounts.NAMES)
    return [name.span() for name in found if not accounts.GROUP.match(shadow, name.end())]


def _is_near(account: tuple[int, int], name: tuple[int, int]) -> bool:
    """Say whether a *name* stands so shortly before or after an *account* that the gates see both."""
    return 0 <= account[0] - name[1] <= accounts.AFTER_NAME or 0 <= name[0] - account[1] <= accounts.BEFORE_NAME


def _bank_cards(shadow: str) -> Iterator[Hit]:
    for match in patterns.BANK_CARD.finditer(shadow):
        number = re.sub(r"[^0-9]", "", match.group())
        if valid_card(number) and not _other_number(shadow, match):
            yield _hit(match)


def _passports(shadow: str) -> Iterator[Hit]:
    for match in patterns.PASSPORT.finditer(shadow):
        yield _hit(match)


FIRST_ROUND: tuple[tuple[Rule, str], ...] = (
    (_emails, EMAIL),
    (_identities, IDENTITY),
    (_bank_cards, BANK),
    (_passports, PASSPORT),
    (_mobiles, PHONE),
    (_mobiles_told, PHONE),
    (_landlines, PHONE),
    (_international, PHONE),
    (_qq_numbers, QQ),
    (_wechat_accounts, WECHAT),
    (_platform_accounts, SOCIAL),
    (_accounts_near, SOCIAL),
    (_named_numbers, PHONE),
    (_landlines_with_letters, PHONE),
    (_spoken, PHONE),
)
"""Rules over the shadow with digits as they are, in the order in which they take what they find."""

SECOND_ROUND: tuple[tuple[Rule, str], ...] = (
    (_emails, EMAIL),
    (_identities, IDENTITY),
    (_bank_cards, BANK),
    (_mobiles, PHONE),
    (_mobiles_told, PHONE),
    (_landlines, PHONE),
    (_qq_numbers, QQ),
    (_named_numbers, PHONE),
)
"""Rules over the shadow in which Chinese digits are digits too."""
