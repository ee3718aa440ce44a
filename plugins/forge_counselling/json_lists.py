"""Cut one large JSON list of objects into smaller ones, which are read side by side in little memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 8 << 20
"""Bytes of a smaller list: few enough that its memory is used again, enough for a thread's while."""
_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*(?=\{\s*("(?:[^"\\]|\\.)*")\s*:)')


@attrs.frozen
class Piece:
    """Hold a list as JSON, and where in the file its first object begins; the *last* goes to the file's end."""

    start: int
    data: bytes
    last: bool


def cut(stream: BinaryIO, size: int = _SIZE) -> Iterator[Piece]:
    """Yield lists of some *size* bytes.

    A cut is made where an object ends and one begins whose first field has the name of the first object's first. That
    may be inside a record, or inside a text. But where each of the lists is JSON, their elements, one list after the
    other, are those of the file: what stands between two brackets in each is a list's inside, and such insides joined
    by commas are one again. What does not begin as a list of objects is one piece.
    """
    data = stream.read(size)
    beginning = _BEGINNING.match(data)
    if beginning is None:
        yield Piece(0, data + stream.read(), last=True)
        return
    between = re.compile(rb"\}\s*,\s*(?=\{\s*" + re.escape(beginning[1]) + rb"\s*:)")
    start, data = beginning.end(), data[beginning.end() :]
    while more := stream.read(max(size, len(data))):  # twice as much each time that none ends in what there is
        data += more
        while (found := between.search(data, size)) is not None:
            yield Piece(start, b"[" + data[: found.start() + 1] + b"]", last=False)
            start, data = start + found.end(), data[found.end() :]
    yield Piece(start, b"[" + data, last=True)
