"""Bytes to text: encodings found or declared, line ends of any kind, and what is said of what can't be read."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

EXCERPT = 120  # characters
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SURROGATE = re.compile(r"\\u[dD]")
_END = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")


class Broken(Exception):
    """Say why a file, or one record of it, can't be used."""

    def __init__(self, reason: str, record: Any = "") -> None:
        super().__init__(reason)
        self.reason = reason
        text = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False, default=str)
        self.excerpt = " ".join(text[: 4 * EXCERPT].split())[:EXCERPT].encode(errors="replace").decode()


def known_encoding(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    """Refuse an encoding that Python does not know."""
    try:
        if value != "auto":
            codecs.lookup(value)
    except LookupError:
        raise ValueError(
            f"`{attribute.name}` must be `auto` or an encoding such as `utf-8`, `gb18030`, got `{value}`"
        ) from None


def decode(data: bytes, encoding: str = "auto") -> str:
    """Return the text of *data* without a byte order mark.

    ``auto`` goes by the mark, else takes UTF-8, else GB18030, which holds GBK and GB2312. Text of which a few bytes
    are damaged keeps them as lone surrogates, so that only the records that hold them need to be rejected.
    Raises Broken for what is no text.
    """
    if not data.strip(b"\xef\xbb\xbf\xfe\xff \t\r\n"):
        raise Broken("empty file")
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    name = (marked or _found(data)) if encoding == "auto" else encoding
    if name == "utf-8" and marked == "utf-8-sig":
        name = marked
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        text = _damaged(data, name)
    if "\0" in text:
        raise Broken("not text: it holds NUL bytes", text.replace("\0", " "))
    if not text.strip():
        raise Broken("empty file")
    return text


def has_mark(data: bytes) -> bool:
    """Say whether *data* begins with a byte order mark."""
    return any(data.startswith(mark) for mark, _ in _MARKS)


def _found(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    # Damaged UTF-8 often decodes as GB18030, to nonsense: most of its letters are whole, of real GB18030 few are.
    loose = data.decode("utf-8", "surrogateescape")
    damaged = sum("\udc80" <= letter <= "\udcff" for letter in loose)
    whole = sum(letter > "\x7f" for letter in loose) - damaged
    return "utf-8" if damaged * 4 <= whole else "gb18030"


def _damaged(data: bytes, name: str) -> str:
    try:
        return data.decode(name, "surrogateescape")
    except UnicodeDecodeError:
        raise Broken(f"not {name.removesuffix('-sig').upper()}", data[:EXCERPT].decode("latin-1")) from None


def is_sound(text: str) -> bool:
    """Say whether *text* holds no byte that could not be decoded, and no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def may_be_unsound(text: str) -> bool:
    """Say whether JSON values read from *text* may hold what `is_sound` refuses."""
    return _SURROGATE.search(text) is not None or not is_sound(text)


def count_lines(text: str) -> int:
    """Return how many ends of lines *text* has."""
    return len(_END.findall(text))


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number from 1 and its end; CR, LF and CRLF end a line, other separators are text."""
    for number, match in enumerate(_LINE.finditer(text), start=1):
        if match.group():
            yield number, match.group()
