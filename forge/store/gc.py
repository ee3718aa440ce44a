"""Collect garbage: remove what no root reaches, also while builds run.

Roots are the last build of each manifest (``builds/*.json``, and the snapshot that answered it last, which may be of
another variant), pins, and whatever is young: published, or found by a build or named by a snapshot that answered one,
since the oldest running build or action began, or within the last hour. A record reaches its artifact, its
inputs and the files it read; journals always stay. `forge.store.used` says how use is noted: `Actions.find` touches
a record, `Store.add_file` and `Store.publish_tree` touch what they find stored already.

A file is removed only while publishing and touching stand still, and only if it is still old then. Records go first;
what the records that are left reach is asked anew; then trees, then objects. So wherever a collection is cut off,
or a build finds a record just before it would have gone, no record names what a collection took.
"""

from __future__ import annotations

import errno
import json
import re
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from forge.core.errors import StoreError
from forge.store.actions import Actions
from forge.store.disk import named_errors, remove
from forge.store.folders import set_aside
from forge.store.pins import Pins
from forge.store.used import GRACE, alone, leases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forge.core.record import Record
    from forge.store.base import Store

Kind = Literal["records", "trees", "objects", "logs", "scratch", "staging", "snapshots", "pieces"]
_SEAL = re.compile(r"[0-9a-f]{8} (\S+)")
"""The last line of a snapshot: its seal, and the name of what is remembered of its manifest."""
DAY = 86400.0
_STAGING = DAY
"""Seconds after which what lies in the staging area belongs to nobody, if no older action runs."""
_PIECES = 14 * DAY
"""Seconds for which a part of a result waits for a build that needs it."""
_SCRATCH = 7 * DAY
"""Seconds for which a checkpoint waits for the next attempt: a training cut off on Friday goes on on Monday."""
_LOGS = 7 * DAY
"""Seconds for which what a failed step left to read stays."""


@attrs.frozen
class Piece:
    """Name one file or folder that can go, and its size in bytes."""

    kind: Kind
    path: Path
    size: int


@attrs.frozen
class Garbage:
    """State what a collection would remove: nothing that was touched after *before*, in seconds since 1970."""

    pieces: Sequence[Piece]
    before: float
    kept: int

    def of(self, kind: Kind) -> list[Piece]:
        """Return the pieces of one kind."""
        return [piece for piece in self.pieces if piece.kind == kind]

    @property
    def size(self) -> int:
        """Return the bytes of all pieces."""
        return sum(piece.size for piece in self.pieces)


def survey(store: Store, *, keep_days: float = 0.0) -> Garbage:
    """Return what a collection would remove now; what was used in the last *keep_days* days stays."""
    actions, now = Actions(store), time.time()
    claimed = actions.claimed()
    begun = [began for began in leases(store.root).values() if began is not None]
    before = min([now, *begun, *claimed.values()]) - GRACE
    before = min(before, now - keep_days * DAY)
    roots = roots_of(store, before)
    records = {path.parent.name + path.stem: path for path in (store.root / "actions").glob("*/*.json")}
    gone = {key: path for key, path in records.items() if key not in roots and _old(path, before)}
    trees, objects = _reached(store, actions, records.keys() - gone.keys())
    pieces = [_piece("records", path) for path in gone.values()]
    pieces += [
        _piece("trees", path)
        for path in (store.root / "trees").glob("*/*.json")
        if path.parent.name + path.stem not in trees and _old(path, before)
    ]
    pieces += [
        _piece("objects", path)
        for path in (store.root / "objects").glob("*/*")
        if path.parent.name + path.name not in objects and _old(path, before)
    ]
    kept = records.keys() - gone.keys()
    pieces += _said(store, set(gone), kept | claimed.keys(), before)
    pieces += _halves(store, set(claimed), before)
    pieces += [_piece("pieces", path) for path in _idle_pieces(store, before)]
    pieces += _snapshots(store, {piece.path for piece in pieces})
    return Garbage(tuple(sorted(pieces, key=lambda piece: piece.path)), before, len(kept))


def collect(store: Store, garbage: Garbage) -> Garbage:
    """Remove what a survey found, except what came into use since, and return what was removed."""
    with named_errors(store.root):
        roots = roots_of(store, garbage.before)
        removed = [p for p in garbage.of("records") if _key(p.path) not in roots and _take(store, p, garbage.before)]
        gone = {_key(piece.path) for piece in removed}
        left = {_key(path) for path in (store.root / "actions").glob("*/*.json")}
        trees, objects = _reached(store, Actions(store), left)
        removed += [p for p in garbage.of("trees") if _key(p.path) not in trees and _take(store, p, garbage.before)]
        for piece in removed:
            if piece.kind == "trees":
                _discard(store, _key(piece.path))
        removed += [p for p in garbage.of("objects") if _key(p.path) not in objects and _take(store, p, garbage.before)]
        removed += _tidy(store, garbage, gone, left)
        for path, began in leases(store.root).items():
            if began is None:
                path.unlink(missing_ok=True)
    return Garbage(tuple(removed), garbage.before, len(left))


def _tidy(store: Store, garbage: Garbage, gone: set[str], left: set[str]) -> Iterator[Piece]:
    """Remove what no record names: logs, scratch folders, half-made things, answers; yield what went."""
    actions = Actions(store)
    kept = left | actions.claimed().keys()
    for piece in garbage.of("logs"):
        key = piece.path.stem
        if key not in kept and (key in gone or _old(piece.path, garbage.before)):
            if piece.path.is_dir():
                remove(piece.path)
            else:
                piece.path.unlink(missing_ok=True)
            yield piece
    for piece in garbage.of("scratch"):
        if piece.path.name in actions.claimed():
            continue
        # under its claim, so that no action begins on a checkpoint that is being removed
        with actions.claim(piece.path.name):
            if _old_below(piece.path, garbage.before):
                remove(piece.path)
                yield piece
    for piece in [*garbage.of("staging"), *garbage.of("snapshots"), *garbage.of("pieces")]:
        if piece.path.is_dir():
            remove(piece.path)
        else:
            piece.path.unlink(missing_ok=True)
        yield piece


def _take(store: Store, piece: Piece, before: float) -> bool:
    """Remove one file unless it came into use meanwhile."""
    with _alone(store):
        if not _old(piece.path, before):
            return False
        piece.path.unlink(missing_ok=True)
    return True


def _discard(store: Store, digest: str) -> None:
    """Remove the folder of a tree that was taken, unless the tree was published again meanwhile."""
    with store.staging() as staging, _alone(store):
        if not store.tree_path(digest).exists():
            set_aside(store, digest, staging)


def roots_of(store: Store, before: float) -> set[str]:
    """Return the keys that the last builds and pins name, and the snapshots that answered since a time."""
    keys = {pin.digest for pin in Pins(store).all() if pin.kind == "record"}
    for path in (store.root / "builds").glob("[!.]*.json"):
        try:
            found = json.loads(path.read_bytes())
            keys |= {key for key in found.values() if isinstance(key, str)}
        except (ValueError, AttributeError) as error:
            raise StoreError(
                f"`{path}` is damaged, so that what the last build of a manifest needs is not known",
                hint="remove it, build that manifest again, and then collect",
            ) from error
    return keys | _answered(store, before)


def _answered(store: Store, before: float) -> set[str]:
    """Return the keys behind the snapshot that was each manifest's last build, and behind all used since a time.

    A build that a snapshot answers writes nothing but the snapshot's own time.
    """
    builds = store.root / "builds"
    found: dict[str, list[tuple[float, set[str]]]] = {}
    for path in builds.glob("*.snapshot"):
        with suppress(OSError):
            snapshot = _snapshot(path)
            records = {_key(each) for each in _inside(store, snapshot) if each.parent.parent.name == "actions"}
            sealed = _SEAL.fullmatch(snapshot[-1]) if snapshot else None
            if sealed:
                found.setdefault(sealed[1], []).append((path.stat().st_mtime, records))
    keys: set[str] = set()
    for name, answers in found.items():
        newest = max(used for used, _ in answers)
        # the manifest was built the full way since, if what that remembers is no older
        since = (builds / f"{name}.json").exists() and not _old(builds / f"{name}.json", newest)
        keys = keys.union(*(r for used, r in answers if used >= before or (used == newest and not since)))
    return keys


def _reached(store: Store, actions: Actions, keys: set[str]) -> tuple[set[str], set[str]]:
    """Return the digests of trees and objects that pins and these records reach."""
    pins = Pins(store).all()
    objects = {pin.digest for pin in pins if pin.kind == "object"}
    trees = {pin.digest for pin in pins if pin.kind == "tree"}
    for key in keys:
        record = actions.read(key)
        if record is not None:
            trees |= set(named_trees(record))
    for path in (store.root / "pieces").glob("*/*.json"):
        with suppress(OSError, ValueError):
            objects.add(str(json.loads(path.read_bytes())))
    for digest in trees:
        with suppress(StoreError):
            objects |= {member.digest for member in store.tree(digest).members.values()}
    return trees, objects


def _idle_pieces(store: Store, before: float) -> list[Path]:
    old = min(before, time.time() - _PIECES)
    return [path for path in (store.root / "pieces").glob("*/*.json") if _old(path, old)]


def named_trees(record: Record) -> Iterator[str]:
    """Yield the trees that a record names; what a check read lies there to be checked again."""
    yield record.tree
    yield from record.inputs.values()
    yield from record.action.get("files", {}).values()
    if record.action.get("previous"):
        yield record.action["previous"]


def _said(store: Store, gone: set[str], kept: set[str], before: float) -> list[Piece]:
    """Return logs, looks ahead and receipts of failed checks whose records go, and old ones that never had any."""
    traces = [p for p in (store.root / "logs").glob("*") if p.is_dir()]
    paths = [*(store.root / "logs").glob("*.log"), *traces, *(store.root / "builds").glob("[fp]*/*.json")]
    old = min(before, time.time() - _LOGS)
    return [_piece("logs", p) for p in paths if p.stem in gone or (p.stem not in kept and _old(p, old))]


def _halves(store: Store, claimed: set[str], before: float) -> list[Piece]:
    """Return what work that never ended has left behind."""
    old = min(before, time.time() - _SCRATCH)
    kept = [*(store.root / "scratch").glob("*"), *(store.root / "jobs").glob("*")]
    scratch = [p for p in kept if p.name not in claimed and _old_below(p, old)]
    old = min(before, time.time() - _STAGING)
    staging = [p for p in (store.root / "staging").glob("*") if _old_below(p, old)]
    staging += [p for p in (store.root / "artifacts").glob("*/*") if not store.tree_path(_key(p)).exists()]
    for part in ("actions/*", "trees/*", "builds", "builds/failed", "builds/preflight", "claims", "pins"):
        # files that were being written when their writer was killed
        staging += [p for p in store.root.glob(f"{part}/.*") if _old(p, old)]
    return [_piece("scratch", p) for p in scratch] + [_piece("staging", p) for p in staging]


def _snapshots(store: Store, going: set[Path]) -> list[Piece]:
    """Return the answers to builds whose results are no longer there."""
    found = []
    for path in (store.root / "builds").glob("*.snapshot"):
        inside = _inside(store, _snapshot(path))
        if not inside or any(each in going or not each.exists() for each in inside):
            found += [_piece("snapshots", each) for each in (path, path.with_suffix(".graph")) if each.exists()]
    return found


def _snapshot(path: Path) -> list[str]:
    """Return the lines of a snapshot, the last with the name of its build; none if it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return []


def _inside(store: Store, lines: list[str]) -> list[Path]:
    """Return the files of the store that a snapshot's answer depends on."""
    return [Path(line.partition("\t")[0]) for line in lines if line.startswith(f"{store.root}/")]


def _key(path: Path) -> str:
    return path.parent.name + path.name.removesuffix(".json")


def _piece(kind: Kind, path: Path) -> Piece:
    size = 0
    for each in [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]:
        with suppress(OSError):
            size += each.lstat().st_size if not each.is_dir() else 0
    return Piece(kind, path, size)


def _old(path: Path, before: float) -> bool:
    """Say whether a file is there and was last in use before a time."""
    try:
        return path.lstat().st_mtime < before
    except OSError:
        return False


def _old_below(path: Path, before: float) -> bool:
    """Say whether a file or folder and all in it are old."""
    return _old(path, before) and all(_old(each, before) for each in path.rglob("*"))


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    try:
        with alone(store.root):
            yield
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        hint = "collect on a machine whose file system can lock files"
        raise StoreError(f"the file system of the store `{store.root}` can't lock files", hint=hint) from error
