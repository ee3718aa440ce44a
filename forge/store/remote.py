"""Remotes: places that hold objects, trees and records under the names that a store gives them.

So a store's own folder is a remote as well, and a folder that was pushed to can be built in. `forge.store.push` sends,
`forge.store.pull` takes; what they share stands here.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
from blake3 import blake3

from forge.core.artifact import Member
from forge.core.errors import StoreError
from forge.store.base import FORMAT
from forge.store.places import CHUNK, open_place
from forge.store.trust import MOST, Absent, Unfit, read_secret, record_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.store.places import Place


@attrs.define
class Tally:
    """Count what travelled, its bytes, and what was there already."""

    sent: int = 0
    size: int = 0
    there: int = 0

    def add(self, sent: int | None) -> None:
        """Count one thing: the bytes that travelled, or None for one that was there."""
        if sent is None:
            self.there += 1
        else:
            self.sent += 1
            self.size += sent


@attrs.define
class Totals:
    """Count objects, trees and records."""

    objects: Tally = attrs.Factory(Tally)
    trees: Tally = attrs.Factory(Tally)
    records: Tally = attrs.Factory(Tally)

    @property
    def size(self) -> int:
        """Return the bytes of all that travelled."""
        return self.objects.size + self.trees.size + self.records.size


@attrs.define
class Remote:
    """Read and write one remote; *secret* signs records, *stop* ends what is under way."""

    place: Place
    secret: bytes | None = attrs.field(default=None, repr=False)
    jobs: int = 8
    stop: threading.Event = attrs.Factory(threading.Event)

    @classmethod
    def open(cls, url: str, jobs: int = 8) -> Remote:
        """Return the remote at a path or URL; nothing is asked of it yet."""
        return cls(open_place(url), read_secret(), jobs)

    @property
    def label(self) -> str:
        """Return the URL or path, for people."""
        return self.place.label

    def format(self) -> str | None:
        """Return the remote's format, or None where nothing was ever pushed; raise StoreError for a foreign one."""
        data = self.small("format")
        found = None if data is None else data.decode("utf-8", "replace").strip()
        if found is not None and found != FORMAT:
            raise StoreError(f"the remote `{self.label}` has format `{found[:40]}`, this forge reads `{FORMAT}`")
        return found

    def small(self, name: str) -> bytes | None:
        """Return a small file's bytes, or None if it is not there."""
        size = self.place.size(name)
        if size is None:
            return None
        if size > MOST:
            raise StoreError(f"`{name}` at the remote `{self.label}` has {size:,} bytes, too many to be read")
        return b"".join(self.place.read(name, size))

    def record(self, key: str) -> Record | None:
        """Return a record, or None if it is not there; raise Unfit for one that can't be taken."""
        data = self.small(record_name(key))
        return None if data is None else record_of(data, key, self.secret)

    def tree(self, digest: str) -> Tree | None:
        """Return a tree, or None if it is not there; raise Unfit for one that can't be taken."""
        data = self.small(tree_name(digest))
        return None if data is None else tree_of(data, digest)

    def object(self, member: Member, file: BinaryIO, progress: Callable[[int], None]) -> None:
        """Fill *file* with an object's bytes, going on from what it holds.

        Raise Unfit where the remote's are not what the member says, or not there.
        """
        found = self.place.size(object_name(member.digest))
        if found is None:
            raise Absent("is not there")
        if found != member.size:
            raise Unfit(f"has {found:,} bytes, not {member.size:,}")
        hasher, before = blake3(), 0
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
            before += len(chunk)
        progress(before)
        if self._receive(member, file, hasher, before, progress):
            return
        if not before:
            raise Unfit("holds other bytes than its name says")
        # what was there of it may have been damaged, as by a power cut: all of it is asked for once more
        file.seek(0)
        file.truncate()
        if not self._receive(member, file, blake3(), 0, lambda _: None):
            raise Unfit("holds other bytes than its name says")

    def _receive(
        self, member: Member, file: BinaryIO, hasher: blake3, size: int, progress: Callable[[int], None]
    ) -> bool:
        """Append what comes to *file*, which has *size* bytes; say whether all of them fit the digest."""
        if size <= member.size:
            for chunk in self.place.read(object_name(member.digest), member.size, size):
                if self.stop.is_set():
                    raise StoreError(f"the transfer from `{self.label}` was stopped")
                size += len(chunk)
                if size > member.size:
                    break
                hasher.update(chunk)
                file.write(chunk)
                progress(len(chunk))
        file.flush()
        return size == member.size and hasher.hexdigest() == member.digest

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Call *function* for many items at once and yield each with its result; the first error stops all."""
        with ThreadPoolExecutor(self.jobs, "remote") as pool:
            futures = {pool.submit(function, item): item for item in items}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def object_name(digest: str) -> str:
    """Return where an object lies."""
    return f"objects/{digest[:2]}/{digest[2:]}"


def tree_name(digest: str) -> str:
    """Return where a tree lies."""
    return f"trees/{digest[:2]}/{digest[2:]}.json"


def record_name(key: str) -> str:
    """Return where a record lies."""
    return f"actions/{key[:2]}/{key[2:]}.json"


def same_folder(remote: Remote, store: Path) -> bool:
    """Say whether a remote is the store itself."""
    root = getattr(remote.place, "root", None)
    return not isinstance(root, str) and root is not None and root.resolve() == store.resolve()
