"""Content digests: BLAKE3, 256 bits, lower-case hex (docs/decisions/0001-blake3.md)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from blake3 import blake3

if TYPE_CHECKING:
    from pathlib import Path

_MMAP_FROM = 1 << 20
"""Bytes from which mapping a file and hashing on all cores beats reading it."""

_WINDOW = 1 << 28
"""Bytes that are mapped at once: what is mapped counts as the process's memory, where a cluster bounds that."""


def canonical(value: Any) -> bytes:
    """Return the one JSON text of *value*: sorted keys, no blanks, UTF-8; NaN is refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest_bytes(data: bytes) -> str:
    """Return the digest of *data*."""
    return blake3(data).hexdigest()


def digest_value(domain: str, value: Any) -> str:
    """Return the digest of a JSON value; *domain* keeps equal values of different meaning apart."""
    return digest_text(domain, canonical(value))


def digest_text(domain: str, text: bytes) -> str:
    """Return the digest of the JSON value whose `canonical` text is given."""
    return blake3(domain.encode() + b"\0" + text).hexdigest()


def digest_file(path: Path | str, size: int) -> str:
    """Return the digest of a file's bytes; a large one is mapped and hashed on all cores, a window at a time."""
    if size < _MMAP_FROM:
        with open(path, "rb") as file:
            return blake3(file.read()).hexdigest()
    hasher = blake3(max_threads=blake3.AUTO)
    if size <= _WINDOW:
        hasher.update_mmap(path)
        return hasher.hexdigest()
    import mmap

    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        for start in range(0, end, _WINDOW):
            with mmap.mmap(file.fileno(), min(_WINDOW, end - start), access=mmap.ACCESS_READ, offset=start) as window:
                hasher.update(window)
    return hasher.hexdigest()
