"""The expressions that pick the few texts that can hold personal data.

They read raw text, in Rust's dialect, and must match wherever a rule of `forge_text.personal_rules` can.
"""

from __future__ import annotations

from forge_text.personal_words import (
    ANIMALS,
    ENGLISH_DIGIT,
    HAN_PLATFORMS,
    HEARTS,
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


_DIGIT = r"[\p{Nd}\p{No}零一二三四五六七八九〇壹贰叁肆伍陆柒捌玖幺貳陸两洞拐勾OolI]"
_ONE = r"[\p{Nd}\p{No}一壹幺--[02-9０２-９]]"
_MORE = rf"(?:[^\p{{Han}}A-Za-z0-9]{{0,4}}{_DIGIT})"
_DIGITS = rf"{_DIGIT}{_MORE}{{4}}"
_MARKED = rf"{_ONE}(?:[^\p{{Han}}0-9 ]{{1,2}}{_DIGIT}){{5}}|{_DIGIT}{{3}}(?:杠|空|横|短横|[点點]){_DIGIT}{{4}}"
_PARTS = rf"{_ONE}{_DIGIT}{{2,10}}[\s,，.．。\-－—]*(?:[后後]|中间|中間|接|然|再|最|末尾|尾)"
_QQ = _in_either_script("[Qq扣蔻抠叩🐧]|口口|企鹅|球球|鹅号|秋秋|丘丘")
_LETTER = "A-Za-z0-9_Ａ-Ｚａ-ｚ０-９＿"
_MARKS = r".\-．－‐‑‒–—―−─"  # with all that a shadow has as a hyphen
_IDENTIFIER = rf"[{_LETTER}{_MARKS}]{{5}}"
_LATIN = "[A-Za-zＡ-Ｚａ-ｚ]"
_JOINED = rf"[{_LETTER}]\s?(?:下[划劃][线線]|短横|横杠|横[线線]|[减減][号號]|杠)|{_LATIN}\s?[点點]\s?{_LATIN}"
_APART = rf"[{_LETTER}](?:[ 　][{_LETTER}]){{5}}"
_ACCOUNT = rf"(?:[@＠]|{_IDENTIFIER}|[#＃][0-9０-９]{{4}}|{_DIGITS}|{_JOINED}|{_APART})"
_WECHAT = (
    rf"[微薇]|[威徽维維][信芯]|[威維维][{HEARTS}]|[卫衛]星|[加➕+＋][ 　]?[Vv]|(?i:wei信)"
    rf"|{_in_either_script('绿泡泡|绿色软件')}"
    rf"|(?:^|[^A-Za-z])(?i:[vw](?:[ 　]x|[x信号號:：我{HEARTS}])|we[ 　\-－]?chat|wei[ 　\-－]?xin)"
)
_PLATFORM = (
    rf"(?i:{_in_either_script(HAN_PLATFORMS)}|b站|d音)"
    rf"|(?:^|[^A-Za-z])(?i:qq|line|dc|(?:{LATIN_PLATFORMS})(?-u:\b))"
)
_NAME = rf"(?:{_WECHAT}|{_PLATFORM}|[Ａ-Ｚａ-ｚ])"
_AT_NAME = rf"[@＠][^\p{{Han}}A-Za-z0-9]*(?:[A-Za-z]|{_DIGIT})"
_LINK = r"(?i:t\.me|\.com(?:/u|/user|/user/profile|/people|/in|/add)?)/|(?i:reddit)[\s\S]{0,10}?[uU][/／]"
_SOUGHT = rf"(?:找|加|[联聯][系繫]|私信|私聊)\s*[他她我你]?\s*[@＠]?[{_LETTER}{_MARKS}]*[_＿]"
_SAID = rf"(?:{ENGLISH_DIGIT}|[0-9]{{1,4}})"
WIDE = (
    rf"[@＠]|{_DIGITS}|{_MARKED}|{_PARTS}|{_IDENTIFIER}|{_JOINED}|{_APART}|(?i:{ENGLISH_DIGIT}[ ,.\-]|yi|yao|t\.me/)"
    rf"|(?:[{_LETTER}À-ÖØ-öø-ÿ{_MARKS}]|{_DIGIT})\s*(?:[^A-Za-z0-9]{{0,3}}(?:at|AT|At|艾特|爱特|圈a|[#＃])|小?老鼠|[{ANIMALS}]|在)"
)
NARROW = (
    rf"{_AT_NAME}|{_DIGIT}{_MORE}{{6}}|(?:{_QQ})[\s\S]*{_DIGITS}|[Ａ-Ｚａ-ｚ]|wxid_|{_LINK}|{_SOUGHT}",
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
