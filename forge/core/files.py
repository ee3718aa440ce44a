"""Files that a step reads from outside the store, as parameters of its class."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import attrs

_WILD = "*?["


@attrs.frozen
class File:
    """Name one input file.

    ``name`` is relative to what the manifest declares and belongs to the action key;
    ``path`` says where the bytes lie on this machine and belongs to nothing.
    """

    name: str
    path: Path = attrs.field(eq=False)

    def read_bytes(self) -> bytes:
        """Return the file's bytes."""
        return self.path.read_bytes()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the file's text, line ends untouched."""
        return self.path.read_bytes().decode(encoding)


@attrs.frozen
class Seen:
    """State what a file held: its digest, its size in bytes, and a signature; an empty one says nothing."""

    digest: str
    size: int
    signature: tuple[int, ...] = ()


@attrs.frozen
class Files(Sequence[File]):
    """Hold the files that a glob matched, in the order of their names."""

    pattern: str = attrs.field(eq=False)
    items: tuple[File, ...] = ()

    @overload
    def __getitem__(self, index: int) -> File: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[File, ...]: ...
    def __getitem__(self, index: int | slice) -> File | tuple[File, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[File]:
        return iter(self.items)

    @classmethod
    def match(cls, pattern: str, root: Path | str = ".") -> Files:
        """Return the files that *pattern* matches below *root*.

        A folder stands for every file below it.
        Names are relative to the pattern's fixed part, so moving the data changes no name.
        """
        fixed, wild = fixed_part(pattern)
        base = os.path.join(root, fixed)
        if not wild:
            if os.path.isfile(base):
                return cls(pattern, (File(os.path.basename(base), Path(base)),))
            wild = "**"
        names = (n for n in glob.iglob(wild, root_dir=base, recursive=True) if os.path.isfile(os.path.join(base, n)))
        return cls(pattern, tuple(File(n, Path(base, n)) for n in sorted(names)))


def read_between(descriptor: int, start: int, end: int | None = None) -> bytes:
    """Return an open file's bytes from *start* to *end*, or to where it ends, from whatever thread."""
    end = os.fstat(descriptor).st_size if end is None else end
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):  # 2 GiB at a time is the kernel's most
        parts.append(part)
        start += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def fixed_part(pattern: str) -> tuple[str, str]:
    """Part *pattern* into the folder that holds no wildcard and the rest."""
    parts = pattern.split("/")
    for index, part in enumerate(parts):
        if any(c in part for c in _WILD):
            return "/".join(parts[:index]) or ("/" if pattern.startswith("/") else ""), "/".join(parts[index:])
    return pattern, ""
