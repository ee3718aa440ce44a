"""Single files and folders on the store's disk, and the refusals of the operating system in forge's words."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from forge.core.digest import digest_file
from forge.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from forge.core.artifact import Member

NO_LINKS = (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV)
"""How file systems say that a file can't have another name, or no more of them."""

REASONS = {
    errno.ENOSPC: ("the disk of the store `{root}` is full", "free some space, or name another store with `--store`"),
    errno.EDQUOT: (
        "the quota of the store `{root}` is used up",
        "free some space, or name another store with `--store`",
    ),
    errno.EFBIG: (
        "a file grew larger than the disk of the store `{root}`, or a limit of yours, allows",
        "see `ulimit -f`, or name another store with `--store`",
    ),
    errno.ENOTDIR: ("the store `{root}` is not a folder", "name another store with `--store`"),
    errno.EROFS: ("the store `{root}` is on a read-only file system", "name another store with `--store`"),
    errno.EACCES: ("no permission to write to the store `{root}`", "name another store with `--store`"),
    errno.EPERM: ("no permission to write to the store `{root}`", "name another store with `--store`"),
}


_WORTH_SYNCING = 1.0
"""Seconds of work from which a result is worth waiting for the disk; a cheaper one is made again after a power cut."""
_SYNCED = 50 << 20
"""Bytes that a plain disk takes in a second: a large result that is sooner made again than synced is not synced."""


@contextmanager
def named_errors(root: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in REASONS:
            raise
        message, hint = REASONS[error.errno]
        raise StoreError(message.format(root=root), hint=hint) from error


def remove(folder: Path) -> None:
    """Remove a folder and all below it, whatever its permissions; what is gone already is no error."""

    def loosen(function: Any, path: str, _: Any) -> None:
        try:
            os.chmod(os.path.dirname(path), stat.S_IRWXU)
            function(path)
        except FileNotFoundError:
            pass

    import shutil  # its compressors take milliseconds to import, and most builds remove nothing

    shutil.rmtree(folder, onerror=loosen)


def unique() -> str:
    """Return a name that nothing else has, as `uuid` would without its import."""
    return os.urandom(16).hex()


def join(target: Path, path: Path) -> None:
    """Make *path* the same file as *target*; a link that points where the file system has no other kind."""
    try:
        os.link(target, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        path.symlink_to(os.path.relpath(target, path.parent))


def holds(path: Path, member: Member) -> bool:
    """Say whether a file has the bytes of a member."""
    try:
        return digest_file(path, member.size) == member.digest
    except (OSError, ValueError):
        return False


def names(folder: Path) -> set[str]:
    """Return the names of all files below *folder*, relative to it; none where there is no folder."""
    found: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.update(f"{entry.name}/{name}" for name in names(folder / entry.name))
                else:
                    found.add(entry.name)
    except OSError:
        return set()
    return found


def is_worth_syncing(seconds: float, size: Callable[[], int]) -> bool:
    """Say whether a result of so many bytes that took *seconds* is worth waiting for the disk."""
    return seconds >= _WORTH_SYNCING and seconds >= size() / _SYNCED


def size_below(folder: Path) -> int:
    """Return the bytes of all files in *folder* and below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def size_at(path: Path | str) -> int | None:
    """Return the bytes of a file, or None where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def is_one_file(path: str, other: str) -> bool:
    """Say whether two names are those of one file."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def created(path: str) -> BinaryIO:
    """Open a new file for writing, in a folder that is made where it is not there."""
    try:
        return open(path, "xb")  # whoever asked closes it
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(path, "xb")


def is_sound(path: str, size: int) -> bool:
    """Say whether an object has the bytes that its name says."""
    folder, name = os.path.split(path)
    try:
        return size_at(path) == size and digest_file(path, size) == os.path.basename(folder) + name
    except (OSError, ValueError):
        return False


def reads(path: Path, data: bytes) -> bool:
    """Say whether a file holds *data*."""
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def sync(path: Path | str) -> None:
    """Return once a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
