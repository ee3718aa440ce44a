"""What says that something in the store is in use, so that a collection beside a build takes nothing from it.

A file's modification time says when it was last published or found. What is found again is touched, at most twice
in `GRACE`, so that hits stay cheap. A running build holds a lease, a file that says since when. Touching and
publishing hold the store's lock shared; a collection holds it alone for the moment in which it looks at one file's
time and removes it. So what was found or published since the oldest lease began is seen to be young, whoever was
first. The lock is on the file ``format``.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from forge.store.disk import unique
from forge.store.process import hostname, lives

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRACE = 3600.0
"""Seconds for which whatever was found or published stays, whoever uses it."""

_ELSEWHERE = 7 * 86400.0
"""Seconds after which a lease of another machine, whose processes can't be seen, counts no more."""


@contextmanager
def shared(root: Path) -> Iterator[None]:
    """Keep collections from removing anything meanwhile; a store without a lock, or without locks, has none."""
    descriptor = -1
    with suppress(OSError):
        descriptor = os.open(root / "format", os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keep everybody from publishing and touching meanwhile."""
    # network file systems give this lock to files opened for writing alone
    with (root / "format").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def touch(root: Path, path: Path) -> bool:
    """Note that *path* is used now; False where that can't be noted, because it is gone or somebody else's."""
    try:
        if time.time() - path.stat().st_mtime < GRACE / 2:
            return True
        with shared(root):
            os.utime(path)
    except OSError:
        return False
    return True


@contextmanager
def lease(root: Path) -> Iterator[None]:
    """Say that a build runs from now on; one into a store that can't be written says nothing."""
    path = root / "builds" / "running" / f"{hostname()} {os.getpid()} {time.time_ns()} {unique()}"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def leases(root: Path) -> dict[Path, float | None]:
    """Return when each running build began, in seconds since 1970; None for one that is gone without a word."""
    return {path: _began(path.name) for path in sorted((root / "builds" / "running").glob("*"))}


def _holder_lives(host: str, pid: int) -> bool | None:
    """Say whether a process of this machine is there; None for one of another machine."""
    if host != hostname():
        return None
    return lives(pid)


def _began(name: str) -> float | None:
    try:
        host, pid, began, _ = name.rsplit(" ", 3)
        lives, since = _holder_lives(host, int(pid)), int(began) / 1e9
    except ValueError:
        return None
    if lives is None:
        lives = time.time() - since < _ELSEWHERE
    return since if lives else None
