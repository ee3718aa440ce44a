"""Keep what has come of a large file, so that a pull that was cut off goes on inside of it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forge.core.artifact import Member
    from forge.store.base import Store

WORTH_KEEPING = 32 << 20
"""Bytes from which a file is kept half: less is quickly asked for again."""


@contextmanager
def arriving(store: Store, member: Member) -> Iterator[tuple[Path, BinaryIO]]:
    """Give a file of the staging area, open at its beginning, that holds what has come of *member* so far.

    It stays if the transfer is cut off, and whoever takes or removes it does so before this ends. It is one process's
    at a time; another one, or one on a file system without locks, gets an empty file that goes with it.
    """
    path = store.root / "staging" / f"pull-{member.digest}"
    kept = _open(path) if member.size >= WORTH_KEEPING else None
    if kept is not None:
        with kept:
            yield path, kept
        return
    with store.staging() as folder, (folder / "object").open("w+b") as file:
        yield folder / "object", file


def _open(path: Path) -> BinaryIO | None:
    """Open a file for this process alone; None where it is another's, or was taken and so is an object as well."""
    try:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")  # noqa: SIM115  # the caller closes it
    except PermissionError:
        return None
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(file.fileno())
        if held.st_nlink == 1 and os.path.samestat(path.stat(), held):
            return file
    file.close()
    return None
