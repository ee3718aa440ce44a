"""Take from a remote what the store has not, verified on arrival: objects, then trees, then records.

A record enters the store as soon as its artifact is whole, so a pull that is cut off has brought what it has brought;
the next one takes the rest. What does not fit its name is refused and told, and all that fits arrives.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Literal

import attrs

from forge.core.digest import canonical
from forge.core.errors import StoreError, UsageError
from forge.store.actions import Actions
from forge.store.disk import named_errors
from forge.store.gc import named_trees
from forge.store.partial import arriving
from forge.store.remote import Totals, same_folder
from forge.store.trust import Absent, Refusal, Unfit, is_digest, sealed
from forge.store.used import lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forge.core.artifact import Member, Tree
    from forge.core.record import Record
    from forge.store.base import Store
    from forge.store.remote import Remote

Pair = tuple[str, int]


@attrs.define
class Pull:
    """Take records and what they name: `find` those wanted, then `take` what they need.

    *progress* is told of bytes that came and of all that must come. With *dry* only records and trees are read, and
    nothing is written. ``wanted`` are the records to be taken, ``trees`` what they name as far as it was found,
    ``rejected`` the keys whose records or artifacts were refused.
    """

    store: Store
    remote: Remote
    progress: Callable[[int, int], None] = lambda _done, _total: None
    dry: bool = False
    totals: Totals = attrs.Factory(Totals)
    refused: list[Refusal] = attrs.Factory(list)
    wanted: dict[str, Record] = attrs.Factory(dict)
    trees: dict[str, Tree] = attrs.Factory(dict)
    rejected: set[str] = attrs.Factory(set)
    done: int = 0
    _told: set[str] = attrs.field(factory=set, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def open(self) -> None:
        """Raise an error if the remote is none."""
        if same_folder(self.remote, self.store.root):
            raise UsageError(f"the remote `{self.remote.label}` is the store itself")
        if self.remote.format() is None:
            raise StoreError(
                f"there is nothing to pull at `{self.remote.label}`",
                hint="check the address; `forge store push` makes a remote of it",
            )

    def keys(self) -> list[str]:
        """Return the keys of all records that the remote names."""
        names = [name.removesuffix(".json").replace("/", "", 1) for name in self.remote.place.names("actions")]
        return [name for name in names if is_digest(name)]

    def find(self, keys: Iterable[str]) -> dict[str, Tree]:
        """Look records up, here and then there, and return the artifacts of those that are found by their keys."""
        found = {}
        for key, (record, tree, here) in self.remote.each(self._look, keys):
            if record is None or tree is None:
                if record is not None or any(each.digest == key for each in self.refused):
                    self.rejected.add(key)
                continue
            found[key] = tree
            if here:
                self.totals.records.add(None)
            else:
                self.wanted[key] = record
                self.trees[record.tree] = tree
        return found

    def take(self) -> None:
        """Take all that was found and is not here."""
        if self.dry:
            self._plan()
            return
        with lease(self.store.root):
            self._take()

    # ---------------------------------------------------------------- records and trees

    def _look(self, key: str) -> tuple[Record | None, Tree | None, bool]:
        record = Actions(self.store).find(key)
        if record is not None:
            return record, self.store.tree(record.tree), True
        try:
            record = self.remote.record(key)
        except Unfit as error:
            self._refuse("record", key, error)
            return None, None, False
        if record is None:
            return None, None, False
        tree = self._tree(record.tree, record)
        if tree is None and not self._was_refused(record.tree):
            self._refuse("record", key, Unfit(f"names an artifact that is not there, `{record.tree}`"), record)
        return record, tree, False

    def _tree(self, digest: str, record: Record) -> Tree | None:
        try:
            return self.store.tree(digest)
        except StoreError:
            pass
        try:
            return self.remote.tree(digest)
        except Unfit as error:
            self._refuse("tree", digest, error, record)
            return None

    def _also(self) -> list[tuple[str, Record]]:
        """Return the trees, beside their artifacts, that the wanted records name."""
        named = {d: record for record in self.wanted.values() for d in named_trees(record) if d not in self.trees}
        return list(named.items())

    # ---------------------------------------------------------------- objects

    def _needed(self) -> tuple[dict[Pair, Member], dict[Pair, dict[str, Record]]]:
        """Return what the artifacts need and the store has not, and the records that wait for each object."""
        members: dict[Pair, Member] = {}
        waiting: dict[Pair, dict[str, Record]] = {}
        here: set[Pair] = set()
        for record in self.wanted.values():
            for member in self.trees[record.tree].members.values():
                pair = (member.digest, member.size)
                if pair not in members and pair not in here and self.store.holds(member):
                    here.add(pair)
                    self.totals.objects.add(None)
                if pair not in here:
                    members[pair] = member
                    waiting.setdefault(pair, {})[record.key] = record
        return members, waiting

    def _plan(self) -> None:
        members, _ = self._needed()
        for member in members.values():
            self.totals.objects.add(member.size)
        for digest in {record.tree for record in self.wanted.values()}:
            self._count_tree(digest)
        for record in self.wanted.values():
            self.totals.records.add(len(sealed(record, None)))

    def _take(self) -> None:
        for (digest, _), tree in self.remote.each(lambda pair: self._tree(*pair), self._also()):
            if tree is not None:
                self.trees[digest] = tree
        members, waiting = self._needed()
        left = Counter(key for records in waiting.values() for key in records)
        for key in self.wanted.keys() - left.keys():
            self._publish(self.wanted[key])
        total = sum(member.size for member in members.values())
        for pair, came in self.remote.each(lambda pair: self._fetch(members[pair], waiting[pair], total), members):
            if not came:
                continue
            self.totals.objects.add(pair[1])
            for key, record in waiting[pair].items():
                left[key] -= 1
                if not left[key]:
                    self._publish(record)
        self._take_files()

    def _take_files(self) -> None:
        """Take what checks read from outside, so that `forge verify` can repeat them; it need not be there."""
        trees = [
            self.trees[digest]
            for record in self.wanted.values()
            if record.kind == "check"
            for digest in record.action["files"].values()
            if digest in self.trees
        ]
        members = {(m.digest, m.size): m for tree in trees for m in tree.members.values() if not self.store.holds(m)}
        for member, came in self.remote.each(lambda m: self._fetch(m, {}, 0, must=False), members.values()):
            if came:
                self.totals.objects.add(member.size)

    def _fetch(self, member: Member, records: dict[str, Record], total: int, *, must: bool = True) -> bool:
        """Bring one object into the store, or refuse it."""

        def told(count: int) -> None:
            with self._lock:
                self.done += count
            self.progress(self.done, max(total, self.done))

        with named_errors(self.store.root), arriving(self.store, member) as (path, file):
            try:
                self.remote.object(member, file, told)
            except Unfit as error:
                path.unlink()
                if must or not isinstance(error, Absent):
                    self._refuse("object", member.digest, error, *records.values())
                return False
            self.store.add_file(path, digest=member.digest)
            path.unlink(missing_ok=True)  # it stays where another process has taken the same meanwhile
            return True

    def _publish(self, record: Record) -> None:
        """Write the trees that a record names, and then the record: its objects are here."""
        for digest in dict.fromkeys(named_trees(record)):
            if digest in self.trees:
                self._count_tree(digest)
                self.store.publish_tree(self.trees[digest])
        Actions(self.store).publish(record)
        self.totals.records.add(len(sealed(record, None)))

    def _count_tree(self, digest: str) -> None:
        if digest in self._told:
            return
        self._told.add(digest)
        path = self.store.tree_path(digest)
        self.totals.trees.add(None if path.exists() else len(canonical(self.trees[digest].to_json())))

    # ---------------------------------------------------------------- what is refused

    def _refuse(self, kind: Literal["record", "tree", "object"], digest: str, why: Unfit, *of: Record) -> None:
        with self._lock:
            if not any((each.kind, each.digest) == (kind, digest) for each in self.refused):
                steps = tuple(sorted({record.step for record in of}))
                self.refused.append(Refusal(kind, digest, str(why), steps))

    def _was_refused(self, digest: str) -> bool:
        return any(each.kind == "tree" and each.digest == digest for each in self.refused)
