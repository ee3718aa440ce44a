"""Who speaks: labels at the start of a line, and the role each stands for."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

Role = Literal["user", "assistant", "system"]

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
_OTHER_CLIENTS = ("speaker", "human", "client", "客户", "提问者", "我", "you", "question", "prompt", "提问", "问题")
_OTHER_COUNSELLORS = (
    "listener", "gpt", "ai", "bot", "chatbot", "chatgpt", "model", "answer", "doctor", "psychologist", "expert",
    "机器人", "心理专家", "专家", "老师", "回答", "模型", "智能助手",
)  # fmt: skip
"""Names that stand for a role where a field or a manifest says so; in running text they may be anything."""

_SYSTEMS = ("system", "系统", "系统提示")
_PAIRS = {"A": "B", "甲": "乙", "Q": "A", "问": "答"}
"""Labels that say no role: where no other label stands in a dialogue, the second of a pair answers the first."""

_NICKNAMES = r"[小阿老]\p{Han}|\p{Han}{1,4}的(?:妈妈|爸爸|母亲|父亲|家长)"
_SUFFIX = r"(?:（[^）]*）|\([^)]*\)|\d{1,2})?"
_NAMED = "|".join(sorted((*_CLIENTS, *_COUNSELLORS), key=len, reverse=True))
_LETTERS = "".join(sorted({*_PAIRS, *_PAIRS.values()}))
LABEL = rf"^[\s\x1c-\x1f]*((?i:{_NAMED})|[{_LETTERS}]|{_NICKNAMES}){_SUFFIX}[\s\x1c-\x1f]*[：:][\s\x1c-\x1f]*"
"""A label with whom it plays or a number behind it, and a colon of either width; the group is the label alone."""

_HAN = r"[\u4e00-\u9fff]"
_NAMES_END = "[^\x00-\u4dff\ua000-\U0010ffff说道问答如是想为叫讲成了有下上里面中点]"
"""A Chinese letter but for those that end words before a colon: `他说：`, `比如：`."""

UNKNOWN_LABEL = (
    rf"^[^\S\n]*(?:{_HAN}{{0,5}}{_NAMES_END}|[A-Za-z][A-Za-z .'-]{{1,15}})"
    r"(?:（[^）\n]*）|\([^)\n]*\)|[0-9]{1,2})?[^\S\n]*[：:]"
)
"""What looks like a label at the start of a line: a short name, perhaps whom it plays, a colon of either width."""

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


_NUMBERED = {"1": "2", "0": "1"}
_ROLES: dict[str, Role] = {
    **dict.fromkeys((*_CLIENTS, *_OTHER_CLIENTS), "user"),
    **dict.fromkeys((*_COUNSELLORS, *_OTHER_COUNSELLORS), "assistant"),
    **dict.fromkeys(_SYSTEMS, "system"),
}
_BEHIND = re.compile(r"\s*(?:\([^()]*\)|(?<=[^\W\d_])\d{1,2})?\s*:?\s*$")


def plain(label: str) -> str:
    """Return *label* as it is compared: half-width, lower case, without a colon, a number or whom it plays."""
    return _BEHIND.sub("", unicodedata.normalize("NFKC", label)).strip().lower()


def is_letter(label: str) -> bool:
    """Say whether a label is a letter that names nobody."""
    return plain(label).upper() in {*_PAIRS, *_PAIRS.values()}


def roles_of(labels: Sequence[str], more: Mapping[str, str]) -> list[str | None]:
    """Return the role of each of a dialogue's *labels*, None for one that names nobody; *more* adds to what is known.

    Where all labels are letters or numbers (``A``, ``B``, ``Q``, ``1`` …), the one that comes first asks.
    """
    names = [plain(label) for label in labels]
    known = {plain(label): role for label, role in more.items()}
    pairs = {first.lower(): second.lower() for first, second in (_PAIRS | _NUMBERED).items()}
    letters = {*pairs, *pairs.values()}
    if names and letters.issuperset(names) and not known.keys() & set(names):
        asks = names[0]
        answers = {pairs.get(asks)} if asks in pairs else set()
        answers |= {name for name in names if name != asks and len(set(names)) == 2}  # noqa: PLR2004  # two speakers
        return ["user" if name == asks else "assistant" if name in answers else None for name in names]
    return [known.get(name) or _ROLES.get(name) for name in names]


def label_pattern(labels: Sequence[str], *, inline: bool) -> re.Pattern[str]:
    """Return what finds a label and its colon, at the start of a line or, *inline*, behind a blank too.

    Without *labels* all that name a role in running text count, and the letters.
    """
    names = labels or (*_CLIENTS, *_COUNSELLORS, *_SYSTEMS, *_PAIRS, *_PAIRS.values())
    listed = "|".join(re.escape(name) for name in sorted(set(names), key=lambda name: (-len(name), name)))
    before = r"(?:^|(?<=\s))" if inline else r"^[^\S\n]*"
    suffix = r"(?:（[^）\n]*）|\([^)\n]*\)|\d{1,2})?"
    return re.compile(rf"{before}({listed}){suffix}[^\S\n]*[：:][^\S\n]*", re.MULTILINE | re.IGNORECASE)
