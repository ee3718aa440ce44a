"""Read JSON record by record: the quick way where a text is whole, the careful way past what is broken.

Python's own parser with a hook for objects is used: it notices keys that stand twice, which quicker parsers
(orjson, Polars) pass over, and on texts it costs no more than they do.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

from forge_files.columns import MISSING, find
from forge_files.reading import EXCERPT, Broken

if TYPE_CHECKING:
    from collections.abc import Iterator

NotFinite = Literal["reject", "null"]
_BLANK = re.compile(r"[\s,]*")
_WHITE = re.compile(r"[ \t\r\n]*")
_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_NEXT = re.compile(r"[,\n\r\]}]\s*(?=\{\s*[\"}])")
_TRIES = 1000  # places at which reading may go on, per broken record


class JsonReader:
    """Parse JSON and refuse what standard JSON has not: keys that stand twice, NaN and Infinity.

    With ``not_finite = "null"`` NaN and Infinity are nulls.
    """

    def __init__(self, not_finite: NotFinite) -> None:
        self._decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constants[not_finite])

    def value(self, text: str) -> Any:
        """Return the one value that *text* holds; raises Broken."""
        value, end = self.value_at(text, _white(text, 0))
        if _white(text, end) != len(text):
            raise Broken("text after the value", text[end : end + 4 * EXCERPT])
        return value

    def value_at(self, text: str, place: int) -> tuple[Any, int]:
        """Return the value at *place* and where it ends; raises Broken."""
        try:
            return self._decoder.raw_decode(text, place)
        except Broken as broken:
            raise Broken(broken.reason, text[place : place + 4 * EXCERPT]) from None
        except (ValueError, RecursionError):
            raise Broken("broken JSON", text[place : place + 4 * EXCERPT]) from None

    def records(self, text: str, path: str) -> Iterator[Any]:
        """Yield the records at the dotted *path* (of the whole text, where it is empty), a Broken for a damaged one."""
        try:
            whole = self.value(text)
        except Broken:
            yield from self.careful(text, path)
            return
        found = find(whole, path) if path else whole
        if found is MISSING:
            raise Broken(f"there is no `{path}`", text)
        if isinstance(found, list):
            yield from found
        else:
            yield found

    def careful(self, text: str, path: str) -> Iterator[Any]:
        """Yield as `records` does, from a text that is broken somewhere; reading goes on behind a broken record."""
        place = _white(text, 0)
        for name in path.split(".") if path else ():
            place = self._field(text, place, name)
        listed = text.startswith("[", place)
        if path and not listed:
            yield self._attempt(text, place)[0]
            return
        place = _skip(text, place + 1 if listed else place)
        fields: set[str] = set()
        while place < len(text):
            if listed and text[place] == "]":
                rest = text[place + 1 :].strip()
                if rest and not path:
                    yield Broken("text after the list", rest)
                return
            record, end = self._attempt(text, place)
            yield record
            if isinstance(record, dict):
                fields |= record.keys()
            place = _skip(text, end) if end else self._next(text, place, fields)
        if listed:
            yield Broken("the list has no end: the file is cut off")

    def _attempt(self, text: str, place: int) -> tuple[Any, int]:
        """Return a value or why there is none, and where it ends (0 where nobody knows)."""
        try:
            return self.value_at(text, place)
        except Broken as broken:
            refused = broken
        try:  # whole, but refused for what it holds: its end is known
            return refused, _LENIENT.raw_decode(text, place)[1]
        except (ValueError, RecursionError):
            return Broken("broken JSON", text[place : place + 4 * EXCERPT]), 0

    def _field(self, text: str, place: int, name: str) -> int:
        """Return where the value of field *name* of the object at *place* begins."""
        if not text.startswith("{", place):
            raise Broken(f"there is no `{name}`", text[place : place + 4 * EXCERPT])
        place = _skip(text, place + 1)
        while text.startswith('"', place):
            key, end = self.value_at(text, place)
            colon = _COLON.match(text, end)
            if colon is None:
                break
            if key == name:
                return colon.end()
            place = _skip(text, self.value_at(text, colon.end())[1])
        raise Broken(f"there is no `{name}` before the break", text[place : place + 4 * EXCERPT])

    def _next(self, text: str, place: int, fields: set[str]) -> int:
        """Return where the next readable object begins that looks like the records before, or the end of *text*."""
        for tries, match in enumerate(_NEXT.finditer(text, place + 1)):
            if tries >= _TRIES:
                break
            try:
                record, _ = _LENIENT.raw_decode(text, match.end())
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict) and (not fields or len(fields & record.keys()) * 2 >= len(fields)):
                return match.end()
        return len(text)


_LENIENT = json.JSONDecoder()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Broken("a key stands twice in an object")
    return found


def _refuse(name: str) -> Any:
    del name
    raise Broken("NaN or Infinity is not JSON")


def _null(name: str) -> Any:
    del name


_constants = {"reject": _refuse, "null": _null}


def _skip(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place


def _white(text: str, place: int) -> int:
    match = _WHITE.match(text, place)
    return match.end() if match else place
