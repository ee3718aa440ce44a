"""Content digests: BLAKE3, 256 bits, lower-case hex (docs/decisions/0001-blake3.md)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from blake3 import blake3

if TYPE_CHECKING:
    from pathlib import Path

_MMAP_FROM = 1 << 20
"""Bytes from which mapping a file and hashing on all cores beats reading it."""


def canonical(value: Any) -> bytes:
    """Return the one JSON text of *value*: sorted keys, no blanks, UTF-8; NaN is refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest_bytes(data: bytes) -> str:
    """Return the digest of *data*."""
    return blake3(data).hexdigest()


def digest_value(domain: str, value: Any) -> str:
    """Return the digest of a JSON value; *domain* keeps equal values of different meaning apart."""
    return blake3(domain.encode() + b"\0" + canonical(value)).hexdigest()


def digest_file(path: Path | str, size: int) -> str:
    """Return the digest of a file's bytes; a large one is mapped and hashed on all cores."""
    if size >= _MMAP_FROM:
        hasher = blake3(max_threads=blake3.AUTO)
        hasher.update_mmap(path)
        return hasher.hexdigest()
    with open(path, "rb") as file:
        return blake3(file.read()).hexdigest()
