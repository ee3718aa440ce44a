"""Read JSON record by record: the quick way where a text is whole, the careful way past what is broken.

Python's own parser with a hook for objects is used: it notices keys that stand twice, which quicker parsers
(orjson, Polars) pass over, and on texts it costs no more than they do.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

import attrs

from forge_files.columns import MISSING, find
from forge_files.reading import EXCERPT, Broken

if TYPE_CHECKING:
    from collections.abc import Iterator

NotFinite = Literal["reject", "null"]
_BLANK = re.compile(r"[\s,]*")
_WHITE = re.compile(r"[ \t\r\n]*")
_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_NEXT = re.compile(r"[,\n\r\]}]\s*(?=\{\s*[\"}])")
_MORE = re.compile(r"\][\s,]*\[?\s*(?=\{)")  # another list, or objects, behind a list
_ENDS = re.compile(r"[\]}]\s*\Z")
_TRIES = 1000  # places at which reading may go on, per broken record
_CUT_OFF = "the list has no end: the file is cut off"


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
        level = _Level(text=text, listed=listed, depth=len(path.split(".")) if path else 0)
        yield from self._one_by_one(text, _skip(text, place + 1 if listed else place), level)

    def _one_by_one(self, text: str, place: int, level: _Level) -> Iterator[Any]:
        """Yield the records from *place* on, to the end of their list or of the text."""
        while place < len(text):
            if level.listed and text[place] == "]":
                if not level.depth and text[place + 1 :].strip():
                    yield Broken("text after the list", text[place + 1 :].strip())
                place = level.after_list(place)
                if not place:
                    return
                continue
            record, end = self._attempt(text, place)
            if end:
                level.learn(record)
            follower = _skip(text, end) if end else level.next_record(place)
            cut = level.listed and follower == len(text)
            yield Broken(_CUT_OFF, record.excerpt) if cut and not end and not _ENDS.search(text) else record
            if cut and not end:
                return
            place = follower
        if level.listed:
            yield Broken(_CUT_OFF)

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


@attrs.define(kw_only=True)
class _Level:
    """Find the records behind a broken one, and no objects inside of it.

    What tells them apart is what comes behind: the list of records ends where the text does (behind *depth* objects
    that hold it), a list inside of a record ends before the record does.
    """

    text: str
    listed: bool
    depth: int
    shapes: set[frozenset[str]] = attrs.Factory(set)
    """The fields of the records before."""

    def learn(self, record: Any) -> None:
        """Remember which fields a record has."""
        if isinstance(record, dict) and record:
            self.shapes.add(frozenset(record))

    def after_list(self, place: int) -> int:
        """Return where records go on behind the list that ends at *place*; 0 where none do."""
        more = None if self.depth else _MORE.match(self.text, place)
        if more is None:
            return 0
        self.listed = "[" in more[0]
        return more.end()

    def next_record(self, broken: int) -> int:
        """Return where the next readable record begins behind the one at *broken*, or the end of the text."""
        if not self.shapes and (fields := _fields_before_the_break(self.text, broken)):
            self.shapes.add(fields)
        known: bool | None = None
        end = tries = 0
        for match in _NEXT.finditer(self.text, broken + 1):
            place = match.end()
            if place < end and known is False:
                continue
            tries += 1
            if tries > _TRIES:
                break
            try:
                record, _ = _LENIENT.raw_decode(self.text, place)
            except (ValueError, RecursionError):
                continue
            if place >= end:
                known, end = self._is_record(place)
            if known is not False and self._is_alike(record, sure=known is True):
                return place
        return len(self.text)

    def _is_record(self, place: int) -> tuple[bool | None, int]:
        """Say whether a record begins at *place*, None where the next break comes first; and how far that holds."""
        while place < len(self.text):
            try:
                _, end = _LENIENT.raw_decode(self.text, place)
            except (ValueError, RecursionError):
                return None, place
            place = _skip(self.text, end)
            if self.text[place : place + 1] in ("]", "}", ":"):
                return self._ends_at(place), place
        return None if self.listed else True, place

    def _ends_at(self, place: int) -> bool:
        """Say whether the list of records ends at *place*, and no other."""
        if not self.listed or self.text[place] != "]":
            return False
        rest = _white(self.text, place + 1)
        if not self.depth:
            return self.text[rest : rest + 1] not in (",", "}", "]")
        return _closes(self.text, rest, self.depth)

    def _is_alike(self, record: Any, *, sure: bool) -> bool:
        """Say whether *record* has half of the fields of one before; where all else is *sure*, any of them."""
        if not self.shapes or not isinstance(record, dict):
            return isinstance(record, dict)
        keys = record.keys()
        return any(keys & shape if sure else len(keys & shape) * 2 >= len(shape) for shape in self.shapes)


def _fields_before_the_break(text: str, place: int) -> frozenset[str]:
    """Return the fields of the broken object at *place* that can be read."""
    fields = set()
    place = _skip(text, place + 1) if text.startswith("{", place) else len(text)
    while text.startswith('"', place):
        try:
            key, end = _LENIENT.raw_decode(text, place)
            colon = _COLON.match(text, end)
            if colon is None:
                break
            fields.add(key)
            place = _skip(text, _LENIENT.raw_decode(text, colon.end())[1])
        except (ValueError, RecursionError):
            break
    return frozenset(fields)


def _closes(text: str, place: int, depth: int) -> bool:
    """Say whether the text from *place* on closes *depth* objects, and no more; it may be cut off."""
    for _ in range(depth):
        while text.startswith(",", place):
            key = _white(text, place + 1)
            try:
                colon = _COLON.match(text, _LENIENT.raw_decode(text, key)[1])
                if not text.startswith('"', key) or colon is None:
                    return False
                place = _white(text, _LENIENT.raw_decode(text, colon.end())[1])
            except (ValueError, RecursionError):
                return False
        if place >= len(text):
            return True
        if text[place] != "}":
            return False
        place = _white(text, place + 1)
    return place >= len(text)


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
