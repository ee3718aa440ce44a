"""What files were when they were last read, so that unchanged ones are not read again.

A signature is size, modification and change time in nanoseconds, inode and device; change time moves with every
write and can't be set back. A file that changed less than two seconds before it was read is not trusted, for it
could change again within the clock's grain.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.digest import digest_bytes, digest_file, digest_value
from forge.core.files import Seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forge.store.base import Store

_GRAIN = 2_000_000_000


@attrs.define
class Signatures:
    """Remember what was computed from files, one JSON file for each *name*."""

    store: Store
    name: str
    known: dict[str, list[Any]] = attrs.Factory(dict)
    used: dict[str, list[Any]] = attrs.Factory(dict)

    @classmethod
    def load(cls, store: Store, name: str, *, partly: bool = False) -> Signatures:
        """Read what is known; a damaged file means nothing is.

        What is not asked for until `save` is forgotten then, unless only a part of the manifest is built (*partly*).
        """
        try:
            seal, _, data = (store.root / "builds" / f"{name}.signatures").read_bytes().partition(b"\n")
            known = json.loads(data) if seal == _seal(data) else {}
        except (OSError, ValueError):
            known = {}
        return cls(store, name, known, dict(known) if partly else {})

    def seen(self, path: Path) -> Seen:
        """Return a file's digest and size, and the signature by which a worker can tell that it has not changed."""
        info = os.stat(path)
        digest = str(self._recall(path, info, "digest", lambda: digest_file(path, info.st_size)))
        return Seen(digest, info.st_size, signature(info) if _is_settled(info) else ())

    def of(self, path: Path, what: str, compute: Callable[[Path], Any]) -> Any:
        """Return ``compute(path)``, or what it was if the file has not changed."""
        return self._recall(path, os.stat(path), what, lambda: compute(path))

    def digest(self, path: Path) -> str:
        """Return the digest of a file's bytes."""
        return self.seen(path).digest

    def _recall(self, path: Path, info: os.stat_result, what: str, compute: Callable[[], Any]) -> Any:
        place = f"{what}:{path}"
        found = signature(info)
        entry = self.used.get(place) or self.known.get(place)
        if entry and tuple(entry[:5]) == found:
            self.used[place] = entry
            return entry[5]
        value = compute()
        if _is_settled(info):
            self.used[place] = [*found, value]
        return value

    def save(self) -> None:
        """Write what is known now, if it moved."""
        if self.used != self.known:
            data = json.dumps(self.used, separators=(",", ":")).encode()
            path = self.store.root / "builds" / f"{self.name}.signatures"
            self.store.write(path, _seal(data) + b"\n" + data, durable=False)


@attrs.define
class Sources:
    """Remember which files a fingerprint was taken from, and what they and their folders were just before.

    A file that may change again within the clock's grain is remembered as one that has moved.
    """

    signatures: dict[str, tuple[int, ...]] = attrs.Factory(dict)

    def noting(self, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        """Return what does as *read* does, and remembers the file before."""

        def noted(path: Path) -> Any:
            self._note(path)
            return read(path)

        return noted

    def _note(self, path: Path) -> None:
        for place in (str(path.parent), str(path)):
            if place not in self.signatures:
                info = os.stat(place)
                self.signatures[place] = signature(info) if _is_settled(info) else ()

    def stand(self) -> bool:
        """Say whether all of them are as they were; a file that came or went has moved its folder."""
        with suppress(OSError):
            return all(signature(os.stat(place)) == known for place, known in self.signatures.items())
        return False


def _is_settled(info: os.stat_result) -> bool:
    """Say whether a file's times are old enough that a change from now on shows in them."""
    return time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) > _GRAIN


def _seal(data: bytes) -> bytes:
    """Return what shows damage: a digest that is remembered wrongly would fail its step in every build."""
    return digest_bytes(data).encode()


def signature(info: os.stat_result) -> tuple[int, ...]:
    """Return what says that a file has not changed, as far as one machine can tell."""
    return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev)


def build_name(manifest: str, path: Path) -> str:
    """Return a file name for what is remembered of a manifest: its name, and where it lies."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in manifest)
    return f"{safe}-{digest_value('place', str(path.resolve()))[:12]}"
