"""Read the entries at the head of a GGUF file (the format's document: ggml, ``docs/gguf.md``)."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import forge

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"GGUF"
"""What every file begins with."""

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32
"""Where the header names no other."""


def read_header(path: Path) -> dict[str, Any]:
    """Return the file's entries by name; gguf's own reader takes seconds for a vocabulary, this a fraction of one."""
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise forge.StepError(f"`{path.name}` is not a GGUF file", hint="its first four bytes are not `GGUF`")
        try:
            version = _number(file, "I")
            _number(file, "Q")  # the number of tensors
            count = _number(file, "Q")
            if version not in {2, 3}:
                raise forge.StepError(f"`{path.name}` is GGUF version {version}; 2 and 3 are read")
            return dict((_string(file), _value(file, _number(file, "I"))) for _ in range(count))  # noqa: C402 - order
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise forge.StepError(f"the header of `{path.name}` is damaged or cut short") from error


def read_tensors(path: Path) -> dict[str, tuple[int, tuple[int, ...], int]]:
    """Return each tensor's ggml type, its shape (rows last, as ggml counts) and where its data begin in the file."""
    with path.open("rb") as file:
        try:
            file.seek(8)
            tensors, count = _number(file, "Q"), _number(file, "Q")
            entries = dict((_string(file), _value(file, _number(file, "I"))) for _ in range(count))  # noqa: C402 - order
            found = {}
            for _ in range(tensors):
                name, dimensions = _string(file), _number(file, "I")
                shape = tuple(_number(file, "Q") for _ in range(dimensions))
                found[name] = (_number(file, "I"), shape, _number(file, "Q"))
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise forge.StepError(f"the header of `{path.name}` is damaged or cut short") from error
        alignment = entries.get("general.alignment", _ALIGNMENT)
        data = -(-file.tell() // alignment) * alignment
    return {name: (kind, shape, data + offset) for name, (kind, shape, offset) in found.items()}


def damage(path: Path) -> str:
    """Return what is wrong with a file as a whole: it is empty, of another kind, or shorter than its header says.

    Nothing is returned where none of that is so; types that the `gguf` package does not know are not measured.
    """
    size = path.stat().st_size
    if not size:
        return "it is empty"
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            return "it is no GGUF file: its first four bytes are not `GGUF`"
    try:
        wanted = max((begin + _bytes(kind, shape) for kind, shape, begin in read_tensors(path).values()), default=0)
    except (forge.StepError, MemoryError, OverflowError):  # lengths that were overwritten ask for anything
        return "its header is damaged or cut short"
    return f"it is cut short: it has {size:,} bytes, its header speaks of {wanted:,}" if size < wanted else ""


def _bytes(kind: int, shape: tuple[int, ...]) -> int:
    """Return how many bytes a tensor takes."""
    from gguf import GGML_QUANT_SIZES

    block, size = next((sizes for known, sizes in GGML_QUANT_SIZES.items() if known == kind), (1, 0))
    return math.prod(shape) // block * size


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]


def _string(file: BinaryIO) -> str:
    length = _number(file, "Q")
    data = file.read(length)
    if len(data) != length:
        raise struct.error
    return data.decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        inner, count = _number(file, "I"), _number(file, "Q")
        return [_value(file, inner) for _ in range(count)]
    return _number(file, _NUMBERS[kind])
