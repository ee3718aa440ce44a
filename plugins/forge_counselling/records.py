"""Read texts in the encoding that they are in, and JSON records one by one, past the ones that are broken."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANK = re.compile(r"[\s,]*")
_NEXT_OBJECT = re.compile(r"[,\n\]}]\s*(?=\{\s*\")")
_EXCERPT = 80  # characters
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Broken(Exception):
    """Say why one record can't be used."""

    def __init__(self, reason: str, record: Any = "") -> None:
        super().__init__(reason)
        self.reason = reason
        text = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
        self.excerpt = " ".join(text[: 4 * _EXCERPT].split())[:_EXCERPT].encode(errors="replace").decode()


def decoded(data: bytes) -> str:
    """Return the text of *data*: by its byte order mark, else as UTF-8, else as GB18030, which holds GBK and GB2312.

    Bytes that are damaged stay as lone surrogates, so that only the records that hold them need to be rejected.
    """
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    for name in [marked] if marked else ["utf-8", "gb18030"]:
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            if name == "utf-8" and _is_damaged_utf8(data):
                break  # much of it would decode as GB18030 too, to nonsense
            continue
        return text
    return data.decode("utf-8-sig", "surrogateescape")


def _is_damaged_utf8(data: bytes) -> bool:
    """Say whether most letters beyond ASCII are whole in UTF-8: of real GB18030 few are."""
    loose = data.decode("utf-8", "surrogateescape")
    damaged = sum("\udc80" <= letter <= "\udcff" for letter in loose)
    whole = sum(letter > "\x7f" for letter in loose) - damaged
    return damaged * 4 <= whole


def records(data: bytes, *, utf8: bool = False) -> Iterator[Any]:
    """Yield what a JSON list holds, or objects one after another, with a `Broken` for each one that is damaged.

    After a damaged record reading goes on at the next thing that begins like an object and can be read as one.
    *utf8* says that the encoding is known.
    """
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        yield Broken("empty file")
        return
    text = data.decode("utf-8", "surrogateescape") if utf8 else decoded(data)
    decoder = json.JSONDecoder(object_pairs_hook=_first_of_each)
    place = _skip(text, 0)
    if listed := text.startswith("[", place):
        place = _skip(text, place + 1)
    while place < len(text):
        if listed and text[place] == "]":
            if rest := text[place + 1 :].strip():
                yield Broken("text after the list", rest)
            return
        try:
            record, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            yield Broken("broken JSON", text[place : place + 4 * _EXCERPT])
            place = _next_record(text, place, decoder)
            continue
        yield Broken("broken characters", text[place:end]) if _has_surrogates(text[place:end], record) else record
        place = _skip(text, end)
    if listed:
        yield Broken("the list has no end")


def _skip(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place


def _next_record(text: str, place: int, decoder: json.JSONDecoder) -> int:
    """Return where the next readable object of a record's size starts, or the end of *text*."""
    for match in _NEXT_OBJECT.finditer(text, place + 1):
        try:
            record, _ = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and ("answers" in record or "question" in record or "title" in record):
            return match.end()
    return len(text)


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keep the first value of a repeated key, as Polars does."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _has_surrogates(written: str, record: Any) -> bool:
    """Say whether a record holds bytes that aren't UTF-8 or half of an escaped surrogate pair."""
    try:
        written.encode()
        if "\\ud" in written.lower():
            json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
