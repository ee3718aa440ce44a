"""Read the whole store, name what is damaged, and set it aside so that the next build makes it anew."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from forge.core.digest import digest_file
from forge.core.errors import StoreError
from forge.store.disk import unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forge.core.artifact import Tree
    from forge.core.record import Record
    from forge.store.actions import Actions
    from forge.store.base import Store

Kind = Literal[
    "record is damaged", "tree is damaged", "tree is missing", "object is damaged", "object is missing", "size differs"
]


@attrs.frozen
class Fault:
    """Name one fault: what it is, where, the steps it touches, and what must go for the next build to mend it."""

    fault: Kind
    path: Path
    steps: Sequence[str] = ()
    detail: str = ""
    aside: Sequence[Path] = ()


@attrs.define
class _Look:
    """Hold what one reading of the store found."""

    store: Store
    actions: Actions
    records: dict[Path, Record] = attrs.Factory(dict)
    trees: dict[str, Tree | None] = attrs.Factory(dict)
    users: dict[str, dict[Path, str]] = attrs.Factory(dict)
    objects: dict[str, int] = attrs.Factory(dict)

    def tree(self, digest: str) -> Tree | None:
        if digest not in self.trees:
            self.trees[digest] = None
            with suppress(StoreError):
                self.trees[digest] = self.store.tree(digest)
        return self.trees[digest]


def describe_damage(store: Store, actions: Actions) -> list[Fault]:
    """Read every record, tree and object and return one entry for each fault."""
    look = _Look(store, actions)
    faults = [*_records(look), *_trees(look), *_objects(look)]
    # a collection or a build beside this may have taken or mended what was read first
    return [f for f in faults if not f.aside or any(path.exists() for path in f.aside)]


def set_aside(store: Store, faults: Sequence[Fault]) -> list[Path]:
    """Move what is damaged, and records of what is not whole, into the staging area; return what would not move."""
    stuck = []
    for path in dict.fromkeys(path for fault in faults for path in fault.aside):
        name = (path.parent.name + path.name)[:20]
        try:
            path.replace(store.root / "staging" / f"damaged-{name}-{unique()[:8]}")
        except FileNotFoundError:
            continue
        except OSError:
            stuck.append(path)
    return stuck


def _records(look: _Look) -> Iterator[Fault]:
    for path in sorted((look.store.root / "actions").glob("*/*.json")):
        record = look.actions.read(path.parent.name + path.stem)
        if record is None:
            yield Fault("record is damaged", path, aside=(path,))
        else:
            look.records[path] = record


def _trees(look: _Look) -> Iterator[Fault]:
    store = look.store
    makers: dict[str, dict[Path, str]] = {}
    for path, record in look.records.items():
        makers.setdefault(record.tree, {})[path] = record.step
    present = {p.parent.name + p.stem for p in (store.root / "trees").glob("*/*.json")}
    for digest in sorted(present | makers.keys()):
        records = makers.get(digest, {})
        tree, path = look.tree(digest), store.tree_path(digest)
        if tree is None:
            kind: Kind = "tree is damaged" if path.exists() else "tree is missing"
            yield Fault(kind, path, sorted(set(records.values())), aside=(path, *records))
            continue
        for member in tree.members.values():
            look.users.setdefault(member.digest, {}).update(records)
            look.objects.setdefault(member.digest, member.size)


def _objects(look: _Look) -> Iterator[Fault]:
    store = look.store
    present = {p.parent.name + p.name for p in (store.root / "objects").glob("*/*")}
    for digest in sorted(present | look.users.keys()):
        path, records = store.object_path(digest), look.users.get(digest, {})
        steps, expected = sorted(set(records.values())), look.objects.get(digest)
        try:
            size = path.stat().st_size
            same = digest_file(path, size) == digest
        except OSError as error:
            if path.exists():
                yield Fault("object is damaged", path, steps, str(error.strerror), (path, *records))
            elif records:
                yield Fault("object is missing", path, steps, aside=tuple(records))
            continue
        if not same:
            detail = "" if expected is None or expected == size else f"{size:,} of {expected:,} bytes"
            yield Fault("object is damaged", path, steps, detail, (path, *records))
        elif records and expected is not None and expected != size:
            detail = f"{size:,} bytes, not {expected:,} as its tree says"
            yield Fault("size differs", path, steps, detail, tuple(records))


def leftovers(store: Store) -> dict[str, int]:
    """Count what is left of work that did not end: nothing is wrong with it, and a collection takes it in time."""
    claimed = {p.name for p in (store.root / "claims").glob("*") if not p.name.startswith(".")}
    scratch = [p for p in (store.root / "scratch").glob("*") if p.name not in claimed]
    counts = {
        "in staging": len(list((store.root / "staging").glob("*"))),
        "unfinished actions' scratch folders": len(scratch),
        "half-written files": sum(1 for part in ("actions", "trees") for _ in (store.root / part).glob("*/.*")),
    }
    return {what: count for what, count in counts.items() if count}
