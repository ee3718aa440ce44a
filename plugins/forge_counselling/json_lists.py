"""Cut one large JSON list of objects into smaller ones, which are read side by side in little memory."""

from __future__ import annotations

import mmap
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 8 << 20
"""Bytes of a smaller list: few enough that its memory is used again, enough for a thread's while."""
_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\[\s*\{\s*("(?:[^"\\]|\\.)*")\s*:')


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """Give a file's bytes without loading them."""
    with path.open("rb") as stream:
        if not stream.read(1):
            yield b""  # nothing can't be mapped
            return
        with mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as data:
            yield data


def cut(data: mmap.mmap | bytes, size: int = _BLOCK) -> Iterator[tuple[int, bytes]]:
    """Yield lists of some *size* bytes, each with the place in *data* at which its objects begin.

    A cut is made where an object ends and one begins whose first field has the name of the first object's first. That
    may be inside a record, or inside a text. But where each of the lists is JSON, their elements, one list after the
    other, are those of *data*: what stands between two brackets in each is a list's inside, and such insides joined by
    commas are one again. What does not begin as a list of objects is one piece.
    """
    beginning = _BEGINNING.match(data)
    if beginning is None:
        yield 0, data[:]
        return
    between = re.compile(rb"\}\s*,\s*(?=\{\s*" + re.escape(beginning[1]) + rb"\s*:)")
    start = data.find(b"[") + 1
    while (found := between.search(data, start + size)) is not None:
        yield start, b"[" + data[start : found.start() + 1] + b"]"
        start = found.end()
    yield start, b"[" + data[start:]
