"""Find where a text spells out an interval of rows, and tell it from quantities, dates and lists."""

from __future__ import annotations

import re
from functools import cache

_OPENS, _CLOSES = r"[\[(（【〔{]", r"[\])）】〕}]"
_PLACES = r"(?:区间|索引|下标|位置|序号|第|行|(?i:index|indices|interval|rows?|points?|samples?|between|from))"
"""Words before a number that say that it is a place."""

_TO = r"(?:--?|[–—−~～〜]|到|至|(?i:to))"
_AND = r"(?:[,，、;；]|和|与|及|(?i:and))"
"""What stands between the ends where a bracket or a word says that they are places; elsewhere it makes a list."""

_DEGREES = r"(?:℃|℉|°|度|[%％‰])"
_LATIN = (
    r"(?:[kmµμ]?g|t|[kMGh]?Pa|m?bar|[kmµμM]?[VAWΩ]|[kMG]?Hz|[kcmµμn]?m[²³23]?(?:/[smh]|/min)?|m?[Ll]"
    r"|[mµμn]?s|min|h|K|rpm|ppm|dB)(?![A-Za-z])"
)
_COUNTED = (
    r"(?:个?月|[年日周号天岁倍次元吨米克伏瓦帕万千百亿]|小时|时(?!序|段)|分(?!别|析|布)|秒|升(?![高至到为温压])|公[斤里]"
    r"|[A-Za-z]*[/／])"
)
_MEASURED = rf"(?!\s*(?:{_DEGREES}|{_LATIN}|{_COUNTED}))"
_NUMBER = r"(?<![\d.])(?P<first{n}>\d+)(?P<between{n}>{between})(?P<last{n}>\d+)(?!\.?\d)(?!\s*[-/:]\s*\d)"
_EITHER = rf"\s*(?:{_TO}|{_AND})\s*"
_WAYS = (
    (rf"{_OPENS}\s*", _EITHER, rf"(?=\s*{_CLOSES})(?!\s*{_CLOSES}\s*(?:{_DEGREES}|{_LATIN}))"),
    (rf"{_PLACES}\s*[:：=为是]?\s*", rf"(?:\s*(?:行|个?点)?\s*{_TO}\s*(?:第|索引\s*)?|{_EITHER})", _MEASURED),
    (r"(?<![$¥￥€£值])(?<!值为)(?<!\d[-/:年月])", rf"\s*{_TO}\s*", _MEASURED),
)


@cache
def _intervals() -> re.Pattern[str]:
    ways = (
        rf"(?P<before{n}>{before}){_NUMBER.replace('{n}', str(n)).replace('{between}', between)}{behind}"
        for n, (before, between, behind) in enumerate(_WAYS)
    )
    return re.compile("|".join(ways))


def respelled(text: str, old: tuple[int, int], new: tuple[int, int]) -> str:
    """Return *text* with the ends of the interval *old* replaced by those of *new* wherever it is spelled out.

    It is found in brackets (``[218,280]``), behind a word for a place (``索引 218 和 280``), or with a dash or a word
    such as ``到`` alone, but never where a unit or a date is told: ``100到105度``, ``5-6月``.
    """
    first, last = str(old[0]), str(old[1])
    if first not in text or last not in text:
        return text

    def moved(match: re.Match[str]) -> str:
        way = (match.lastgroup or "")[-1]
        if (match[f"first{way}"], match[f"last{way}"]) != (first, last):
            return match[0]
        return f"{match[f'before{way}']}{new[0]}{match[f'between{way}']}{new[1]}"

    return _intervals().sub(moved, text)
