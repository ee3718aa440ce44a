"""Who speaks: labels at the start of a line, and the role each stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

Role = Literal["user", "assistant"]

_CLIENTS = (
    "来访者",
    "求助者",
    "咨询者",
    "患者",
    "病人",
    "用户",
    "学生",
    "同学",
    "家长",
    "妈妈",
    "爸爸",
    "母亲",
    "父亲",
    "父母",
    "奶奶",
    "爷爷",
    "外婆",
    "外公",
    "女儿",
    "儿子",
    "孩子",
    "姐姐",
    "妹妹",
    "哥哥",
    "弟弟",
    "丈夫",
    "妻子",
    "老公",
    "老婆",
    "男友",
    "女友",
    "男朋友",
    "女朋友",
    "client",
    "seeker",
    "patient",
    "user",
)
_COUNSELLORS = (
    "心理咨询师",
    "咨询师",
    "支持者",
    "心理医生",
    "治疗师",
    "医生",
    "辅导员",
    "助手",
    "counselor",
    "counsellor",
    "therapist",
    "supporter",
    "assistant",
)
_PAIRS = {"A": "B", "甲": "乙", "Q": "A", "问": "答"}
"""Labels that say no role: where no other label stands in a dialogue, the second of a pair answers the first."""

_NICKNAMES = r"[小阿老]\p{Han}|\p{Han}{1,4}的(?:妈妈|爸爸|母亲|父亲|家长)"
_SUFFIX = r"(?:（[^）]*）|\([^)]*\)|\d{1,2})?"
_NAMED = "|".join(sorted((*_CLIENTS, *_COUNSELLORS), key=len, reverse=True))
_LETTERS = "".join(sorted({*_PAIRS, *_PAIRS.values()}))
LABEL = rf"^[\s\x1c-\x1f]*((?i:{_NAMED})|[{_LETTERS}]|{_NICKNAMES}){_SUFFIX}[\s\x1c-\x1f]*[：:][\s\x1c-\x1f]*"
"""A label with whom it plays or a number behind it, and a colon of either width; the group is the label alone."""

REMARK = r"^[\s\x1c-\x1f]*[（(【\[][^）)】\]]*[）)】\]][\s\x1c-\x1f]*$"
"""A line that is nothing but a stage direction."""


def role(label: pl.Expr, dialogue: pl.Expr) -> pl.Expr:
    """Return the role of each *label*; a label that names nobody counts by its place in its *dialogue*.

    A letter (``A``, ``B``, ``甲``, ``问`` …) is a person on the client's side where roles are named in the dialogue,
    and one of two speakers, the first of whom asks, where none is.
    """
    import polars as pl

    named = label.str.to_lowercase().is_in(list(_COUNSELLORS))
    letters = label.is_in(list(_LETTERS))
    all_letters = (letters | label.is_null()).all().over(dialogue)
    opening = label.drop_nulls().first().over(dialogue)
    answers = opening.replace_strict(_PAIRS, default="", return_dtype=pl.String)
    assistant = named | (letters & all_letters & (label == answers))
    return pl.when(label.is_not_null()).then(pl.when(assistant).then(pl.lit("assistant")).otherwise(pl.lit("user")))
