"""Send to a remote what it has not: objects, then trees, then records, so that it never names what is not there.

A push that is cut off leaves at most objects that nothing names yet; the next one finds them and sends the rest.
"""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING

import attrs

from forge.core.digest import canonical
from forge.core.errors import StoreError, UsageError
from forge.store.actions import Actions
from forge.store.base import FORMAT
from forge.store.gc import named_trees, roots_of
from forge.store.remote import Totals, object_name, record_name, same_folder, tree_name
from forge.store.trust import Unfit, sealed
from forge.store.used import lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forge.core.artifact import Member, Tree
    from forge.core.record import Record
    from forge.store.base import Store
    from forge.store.remote import Remote


def rooted(store: Store) -> list[Record]:
    """Return the records that last builds and pins name and whose artifacts are whole."""
    actions = Actions(store)
    found = (actions.find(key) for key in sorted(roots_of(store, math.inf)))
    return [record for record in found if record is not None]


@attrs.define
class Push:
    """Send records and what they name; *progress* is told of bytes sent and of all that must be.

    With *dry* nothing is written. With *verify* what the remote holds is read, and mended where it is damaged.
    """

    store: Store
    remote: Remote
    progress: Callable[[int, int], None] = lambda _done, _total: None
    dry: bool = False
    verify: bool = False
    totals: Totals = attrs.Factory(Totals)
    done: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def run(self, records: Iterable[Record]) -> Totals:
        """Send *records*; what is there already stays as it is."""
        if same_folder(self.remote, self.store.root):
            raise UsageError(f"the remote `{self.remote.label}` is the store itself")
        with lease(self.store.root):
            self._open()
            records = list(records)
            trees = self._trees(records)
            objects = self._objects(trees)
            absent: list[Member] = []
            for member, there in self.remote.each(self._has_object, objects):
                if there:
                    self.totals.objects.add(None)
                else:
                    absent.append(member)
            total = sum(member.size for member in absent)
            for member, _ in self.remote.each(lambda member: self._send_object(member, total), absent):
                self.totals.objects.add(member.size)
            for _, sent in self.remote.each(self._send_tree, trees.values()):
                self.totals.trees.add(sent)
            for _, sent in self.remote.each(self._send_record, records):
                self.totals.records.add(sent)
        return self.totals

    def _open(self) -> None:
        if self.remote.format() is None and not self.dry:
            self.remote.place.write("format", FORMAT.encode())

    def _trees(self, records: list[Record]) -> dict[str, Tree]:
        """Return the trees that records name; their artifacts must be here, what they were made of may be gone."""
        found = {}
        for record in records:
            for digest in named_trees(record):
                if digest in found:
                    continue
                try:
                    found[digest] = self.store.tree(digest)
                except StoreError:
                    if digest == record.tree:
                        raise
        return found

    def _objects(self, trees: dict[str, Tree]) -> list[Member]:
        """Return what the trees name and the store holds; files that a source read lie outside of it."""
        members = {(m.digest, m.size): m for tree in trees.values() for m in tree.members.values()}
        return [member for member in members.values() if self.store.holds(member)]

    def _has_object(self, member: Member) -> bool:
        if not self.verify:
            return self.remote.place.size(object_name(member.digest)) == member.size
        try:
            with open(os.devnull, "r+b") as nowhere:
                self.remote.object(member, nowhere, lambda _: None)
        except Unfit:
            return False
        return True

    def _send_object(self, member: Member, total: int) -> None:
        if self.dry:
            return
        self.store.check_object(member.digest)

        def told(count: int) -> None:
            with self._lock:
                self.done += count
            self.progress(self.done, total)

        self.remote.place.put(object_name(member.digest), self.store.object_path(member.digest), told)

    def _send_tree(self, tree: Tree) -> int | None:
        data, name = canonical(tree.to_json()), tree_name(tree.digest)
        if self.verify:
            try:
                there = self.remote.tree(tree.digest) is not None
            except Unfit:
                there = False
        else:
            there = self.remote.place.size(name) == len(data)
        return None if there else self._write(name, data)

    def _send_record(self, record: Record) -> int | None:
        """Send a record; one that is there stays, unless it is damaged or lacks the signature that a pull wants."""
        name = record_name(record.key)
        if self.verify or self.remote.secret is not None:
            try:
                there = self.remote.record(record.key) is not None
            except Unfit:
                there = False
        else:
            there = self.remote.place.size(name) is not None
        return None if there else self._write(name, sealed(record, self.remote.secret))

    def _write(self, name: str, data: bytes) -> int:
        if not self.dry:
            self.remote.place.write(name, data)
        return len(data)
