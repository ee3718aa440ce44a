"""The expressions that pick the few texts that can hold personal data.

They read raw text, in Rust's dialect, and must match wherever a rule of `forge_text.personal_rules` can.
"""

from __future__ import annotations

from forge_text.personal_words import (
    ANIMALS,
    ENGLISH_DIGIT,
    HAN_PLATFORMS,
    LATIN_PLATFORMS,
    PINYIN_DIGIT,
    PROVIDER,
    TOP,
    TRADITIONAL,
)


def _in_either_script(words: str) -> str:
    """Return an expression for *words* in simplified or traditional characters."""
    for traditional, simplified in TRADITIONAL.items():
        words = words.replace(simplified, f"[{simplified}{traditional}]")
    return words


_DIGIT = r"[0-9０-９零一二三四五六七八九〇壹贰叁肆伍陆柒捌玖幺貳陸两洞拐勾OolI⓪\p{No}𝟎-𝟿]"
_MORE = rf"(?:[^\p{{Han}}A-Za-z0-9]{{0,4}}{_DIGIT})"
_DIGITS = rf"{_DIGIT}{_MORE}{{4}}"
_MARKED = rf"[1１一壹幺](?:[^\p{{Han}}0-9 ]{{1,2}}{_DIGIT}){{5}}|{_DIGIT}{{3}}(?:杠|空|横|短横|[点點]){_DIGIT}{{4}}"
_PARTS = rf"{_DIGIT}{{3}}[\s,，.．。\-－—]*(?:[后後]|中间|中間|接|然|再|最|末尾|尾)"
_QQ = _in_either_script("[Qq扣蔻抠叩🐧]|口口|企鹅|球球|鹅号|秋秋|丘丘")
_LETTER = "A-Za-z0-9_Ａ-Ｚａ-ｚ０-９＿"
_IDENTIFIER = rf"[{_LETTER}.\-．－‐‑‒–—―−─]{{5}}"  # with every mark that a shadow has as a hyphen
_JOINED = rf"[{_LETTER}]\s?(?:下[划劃][线線]|短横|横杠|横[线線]|[减減][号號]|杠)|[A-Za-z]\s?[点點]\s?[A-Za-z]"
_APART = rf"[{_LETTER}](?:[ 　][{_LETTER}]){{5}}"
_ACCOUNT = rf"(?:{_IDENTIFIER}|[#＃][0-9０-９]{{4}}|{_DIGITS}|{_JOINED}|{_APART})"
_NAME = (
    rf"(?:[微薇威徽维維卫衛]|{_in_either_script(f'围脖|小红薯|绿泡泡|绿色软件|{HAN_PLATFORMS}')}|B站|b站|[Ａ-Ｚａ-ｚ]"
    rf"|(?:^|[^A-Za-z])(?i:v|w|qq|line|dc|{LATIN_PLATFORMS}))"
)
_LINK = r"(?i:t\.me|\.com(?:/u|/user|/user/profile|/people|/in|/add)?)/"
_SAID = rf"(?:{ENGLISH_DIGIT}|[0-9]{{1,4}})"
WIDE = (
    rf"[@＠]|{_DIGITS}|{_MARKED}|{_PARTS}|{_IDENTIFIER}|{_JOINED}|{_APART}|(?i:{ENGLISH_DIGIT}[ ,.\-]|yi|yao)"
    rf"|(?:[{_LETTER}.\-]|{_DIGIT})\s*(?:[^A-Za-z0-9]{{0,3}}(?:at|AT|At|艾特|爱特|圈a|[#＃])|小?老鼠|[{ANIMALS}]|在)"
)
NARROW = (
    rf"[@＠]|{_DIGIT}{_MORE}{{6}}|(?:{_QQ})[\s\S]*{_DIGITS}|[Ａ-Ｚａ-ｚ]|wxid_|{_LINK}",
    rf"{_DIGITS}[\s\S]*(?:{_QQ})",
    rf"(?:[\s\[({{【<（]\s*(?i:at)[\s\])}}】>）]|[_-](?i:at)[_-]|艾特|爱特|圈a|老鼠|[#＃{ANIMALS}])[\s\S]{{1,60}}?(?i:{TOP})",
    rf"(?:[{_LETTER}.\-]|{_DIGIT})\s*在\s*(?i:{PROVIDER})",
    rf"(?i:{ENGLISH_DIGIT}[ ,.\-]+(?:double |triple )?{_SAID}[ ,.\-]*(?:double |triple )?{_SAID})",
    rf"(?i:y[ia]o?[ \-,.]{{0,2}}{PINYIN_DIGIT}[ \-,.]{{0,2}}{PINYIN_DIGIT})",
    rf"{_MARKED}|{_PARTS}",
    rf"{_NAME}[\s\S]{{0,40}}?{_ACCOUNT}",
    rf"{_IDENTIFIER}[\s\S]{{0,16}}?{_NAME}",
)
"""One of these matches; together in one expression they are three times as slow.

Five digits may be a QQ number or an account, and only where one is named; all else that is told by digits has seven
or more.
"""
