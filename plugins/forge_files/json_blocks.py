"""Large files of JSON Lines a block at a time: where every line is an object of known columns, Arrow reads the block.

The quick way says nothing that the careful one would not: Arrow's reader refuses other types than it is told, fields
that it does not know, keys that stand twice, numbers out of range, control characters and broken escapes, and what it
lets pass (several objects a line, an object over several lines, a carriage return, a byte order mark) is looked for
here. Whatever is refused is read record by record, and tells what the columns of the next blocks may hold.
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import forge
from forge_files.kinds import BOOLEAN, INTEGER, LONG, NULL, TEXT, Kind, is_plain
from forge_files.reading import has_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import polars as pl

WORTH = 4 << 20
"""Bytes of a file from which looking for Arrow pays: loading it takes as long as reading so much record by record."""

_FIRST = 1 << 18
"""Bytes of the first block: it is read record by record, for nothing is known yet."""

_LOOK = 16 << 10
"""Bytes that are looked at for a line's end at once."""

_BLOCK = 4 << 20
"""Bytes of every other block: small enough that its memory is used again, large enough for a thread's while."""

_LONG = 500
"""Bytes of a line from which looking at each line's end is faster than looking for all of them at once."""


class NotInBlocks(Exception):
    """Say that a file must be looked at as a whole: it holds other bytes than UTF-8, NULs, or nothing."""


def is_worth(path: Path, encoding: str) -> bool:
    """Say whether a file may be read in blocks: it is large, and its lines can be told without decoding it."""
    if encoding not in {"auto", "utf-8"} or path.stat().st_size < WORTH:
        return False
    with path.open("rb") as stream:
        return not has_mark(stream.read(4))


def blocks(
    path: Path, known: Callable[[], Mapping[str, Kind]], threads: int
) -> Iterator[tuple[bytes, pl.DataFrame | None]]:
    """Yield the blocks of a file in their order, all of whole lines, each with its rows if it can be read quickly.

    *known* says what kind the fields of records were so far; it is asked anew for each block.
    """
    with path.open("rb") as stream:
        descriptor = stream.fileno()
        start = _end_of_line(descriptor, _FIRST)
        yield forge.read_between(descriptor, 0, start), None

        def read(each: tuple[int, int, dict[str, Kind]]) -> tuple[bytes, pl.DataFrame | None]:
            block = forge.read_between(descriptor, *each[:2])
            return block, rows_of(block, each[2])

        rest = ((*span, copy.deepcopy(dict(known()))) for span in _spans(descriptor, start))
        yield from forge.ahead(read, rest, threads)


def decode_block(block: bytes) -> str:
    """Return the text of a block that is read record by record; raises NotInBlocks."""
    try:
        text = block.decode()
    except UnicodeDecodeError:
        raise NotInBlocks("not all bytes are UTF-8") from None
    if "\0" in text:
        raise NotInBlocks("there is a NUL")
    return text


def rows_of(block: bytes, known: Mapping[str, Kind]) -> pl.DataFrame | None:
    """Return the rows of a block of which every line is an object of the *known* fields; None where one is not."""
    import polars as pl
    import pyarrow as pa
    from pyarrow import json

    count = _objects(block)
    if not count or not known or not all(map(is_plain, known.values())):
        return None
    schema = pa.schema([(name, _type(kind)) for name, kind in known.items()])
    try:
        table = json.read_json(
            pa.BufferReader(block),
            json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
        table.validate(full=True)  # texts that are no UTF-8
    except pa.ArrowInvalid:
        return None
    found = pl.from_arrow(table)
    return found if isinstance(found, pl.DataFrame) and found.height == count else None


def _objects(block: bytes) -> int:
    """Return how many lines *block* has, if each begins and ends as an object does; 0 otherwise.

    A line that ends with a brace before one that begins with one ends its record: between two of JSON's values stands
    more than white space. So as many rows as lines are one row a line.
    """
    if not block.startswith(b"{") or b"\r" in block or not block.endswith((b"}", b"}\n")):
        return 0
    ends = len(block) - len(block.replace(b"\n", b""))  # finds them word by word, where `count` looks at each byte
    lines = ends + (not block.endswith(b"\n"))
    if len(block) < _LONG * lines:
        return lines if block.count(b"}\n{") == lines - 1 else 0
    end = -1
    for _ in range(lines - 1):
        end = block.find(b"\n", end + 1)
        if block[end - 1 : end + 2] != b"}\n{":
            return 0
    return lines


def _type(kind: Kind) -> Any:
    """Return the Arrow type of a plain *kind*."""
    import pyarrow as pa

    if isinstance(kind, dict):
        return pa.struct([(name, _type(inner)) for name, inner in kind.items()])
    if isinstance(kind, list):
        return pa.list_(_type(kind[0]))
    scalars = {NULL: pa.null(), BOOLEAN: pa.bool_(), INTEGER: pa.int64(), LONG: pa.int64(), TEXT: pa.string()}
    return scalars[kind]


def _spans(descriptor: int, start: int) -> Iterator[tuple[int, int]]:
    """Yield where blocks of whole lines begin and end in a file, from *start* on."""
    size = os.fstat(descriptor).st_size
    while start < size:
        end = _end_of_line(descriptor, start + _BLOCK)
        yield start, end
        start = end


def _end_of_line(descriptor: int, start: int) -> int:
    """Return where in a file the line ends in which *start* is, or the file."""
    while part := os.pread(descriptor, _LOOK, start):
        if (found := part.find(b"\n")) >= 0:
            return start + found + 1
        start += len(part)
    return min(start, os.fstat(descriptor).st_size)
