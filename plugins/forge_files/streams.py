"""Streams out of compressed files, counted against limits as they come."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

import attrs

import forge

_FREE = 1 << 20
"""Bytes below which no ratio is looked at: a small text of one letter is no bomb."""

_HEADER = 4 << 20
"""Bytes that may come between two files of a tar archive: headers, and the buffer of whoever reads them."""

_XZ_MEMORY = 256 << 20
"""Bytes that decoding may take; what `xz -9` made takes 65 MiB."""

_XZ_PIECE = 1 << 16
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"


class Readable(Protocol):
    """Give bytes in order."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, none at the end."""


@attrs.define
class Limits:
    """Count what comes out of archives, and stop what is beyond the bounds."""

    most_bytes: int
    most_files: int
    most_ratio: float
    files: int = 0
    bytes: int = 0
    _name: str = ""
    _size: int = 0
    _own: int = 0

    def begin(self, name: str, size: int) -> None:
        """Begin an archive of *size* bytes."""
        self._name, self._size, self._own = name, size, 0

    def count_file(self) -> None:
        """Count one file."""
        self.files += 1
        if self.files > self.most_files:
            raise self._beyond(f"more than {self.most_files:,} files", "most_files")

    def count(self, size: int) -> None:
        """Count bytes of files that are about to be written."""
        self.bytes += size
        self._own += size
        if self.bytes > self.most_bytes:
            raise self._beyond(f"more than {self.most_bytes:,} bytes", "most_bytes")
        self.check_ratio(self._own)

    def check_ratio(self, size: int) -> None:
        """Refuse *size* bytes out of the archive of now, if it is too small for that."""
        if size > _FREE and size > self._size * self.most_ratio:
            raise self._beyond(f"more than {self.most_ratio:g} bytes for each byte of it", "most_ratio")

    def refused(self, why: str) -> forge.StepError:
        """Return the error that refuses the archive of now."""
        return forge.StepError(f"`{self._name}` {why}, which is refused")

    def _beyond(self, what: str, parameter: str) -> forge.StepError:
        hint = f"if you know what is in it, raise `{parameter}`"
        return forge.StepError(f"`{self._name}` unpacks to {what}, which is refused", hint=hint)


@attrs.define
class Stream:
    """Read a file's content, decompressed where *plain* is false, and look ahead once.

    ``left`` is how many bytes may still be read, None for any number.
    """

    source: Readable
    limits: Limits
    plain: bool
    left: int | None = None
    _head: bytes = b""
    _count: int = 0

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them."""
        while len(self._head) < size and (piece := self.source.read(size - len(self._head))):
            self._head += piece
        return self._head[:size]

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, none at the end."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
        else:
            piece = self.source.read(size)
        self._count += len(piece)
        self.limits.check_ratio(self._count)
        if self.left is not None:
            self.left -= len(piece)
            if self.left < 0:
                raise self.limits.refused("has a header that is too long")
        return piece

    def expect_header(self) -> None:
        """Bound what comes before the next file."""
        self.left = _HEADER

    def expect_content(self) -> None:
        """Let a file come, which is counted as it is written."""
        self.left = None


@attrs.define
class _Xz:
    """Decompress one or more streams of xz with bounded memory."""

    file: IO[bytes]
    _decoder: lzma.LZMADecompressor = attrs.Factory(lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY))
    _ended: bool = False

    def read(self, size: int = -1, /) -> bytes:
        while not self._ended:
            raw = self.file.read(_XZ_PIECE) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not raw:
                raise EOFError("it ends before its end mark")
            piece = self._decoder.decompress(raw, size)
            if self._decoder.eof:
                self._next()
            if piece:
                return piece
        return b""

    def _next(self) -> None:
        rest = self._decoder.unused_data.lstrip(b"\0") or self.file.read(_XZ_PIECE).lstrip(b"\0")
        self._ended = not rest
        if rest:
            self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            self.file.seek(-len(rest), 1)


def is_zip(file: IO[bytes]) -> bool:
    """Say whether a file begins as ZIP files do; one inside of another archive doesn't make that one."""
    head = file.read(4)
    file.seek(0)
    return head in _ZIP


@contextmanager
def opened(file: IO[bytes], limits: Limits) -> Iterator[Stream]:
    """Open what a file holds, by its first bytes."""
    head = file.read(len(_XZ))
    file.seek(0)
    if head.startswith(_GZIP):
        with gzip.GzipFile(fileobj=file) as source:
            yield Stream(source, limits, plain=False)
    elif head.startswith(_BZIP2):
        with bz2.BZ2File(file) as source:
            yield Stream(source, limits, plain=False)
    elif head.startswith(_XZ):
        yield Stream(_Xz(file), limits, plain=False)
    else:
        yield Stream(file, limits, plain=True)
