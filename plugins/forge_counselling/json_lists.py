"""Cut one large JSON list of objects into smaller ones, which are read side by side in little memory."""

from __future__ import annotations

import os
import re
from io import BytesIO
from typing import TYPE_CHECKING

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 4 << 20
"""Bytes of a smaller list: few enough that its memory is used again, enough for a thread's while."""
_LOOK = 64 << 10
"""Bytes that are looked at for where to cut, before twice as many are."""
_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*(?=\{\s*("(?:[^"\\]|\\.)*")\s*:)')


@attrs.frozen
class Piece:
    """Say where in the file *descriptor* the first object of a smaller list begins, and where its last one ends.

    *whole* is the file from its beginning, with its own bracket; without *end* a piece goes to the file's end.
    """

    descriptor: int
    start: int
    end: int | None
    whole: bool = False

    @property
    def last(self) -> bool:
        """Say whether nothing follows in the file."""
        return self.end is None

    def read(self) -> bytes:
        """Return the list as JSON, from whatever thread; nothing where the file ends before it meanwhile."""
        if self.whole:
            return forge.read_between(self.descriptor, 0, None)
        # its brackets are written over the bytes before and behind it: a copy of some megabytes costs more than reading
        data = BytesIO(forge.read_between(self.descriptor, self.start - 1, None if self.end is None else self.end + 1))
        with data.getbuffer() as view:
            view[:1] = b"["[: len(view)]
            if not self.last:
                view[-1:] = b"]"[: len(view)]
        return data.getvalue()


def cut(descriptor: int, size: int = _SIZE) -> Iterator[Piece]:
    """Yield where lists of some *size* bytes are in an open file.

    A cut is made where an object ends and one begins whose first field has the name of the first object's first. That
    may be inside a record, or inside a text. But where each of the lists is JSON, their elements, one list after the
    other, are those of the file: what stands between two brackets in each is a list's inside, and such insides joined
    by commas are one again. What does not begin as a list of objects is one piece.
    """
    beginning = _BEGINNING.match(os.pread(descriptor, _LOOK, 0))
    if beginning is None:
        yield Piece(descriptor, 0, None, whole=True)
        return
    between = re.compile(rb"\}\s*,\s*(?=\{\s*" + re.escape(beginning[1]) + rb"\s*:)")
    start = beginning.end()
    while (found := _first(between, descriptor, start + size)) is not None:
        yield Piece(descriptor, start, found[0] + 1)
        start = found[1]
    yield Piece(descriptor, start, None)


def _first(pattern: re.Pattern[bytes], descriptor: int, start: int) -> tuple[int, int] | None:
    """Return where in the file *pattern* stands first, from *start* on; None where it stands nowhere."""
    data = b""
    while more := os.pread(descriptor, max(_LOOK, len(data)), start + len(data)):
        data += more
        if (found := pattern.search(data)) is not None:
            return start + found.start(), start + found.end()
    return None
