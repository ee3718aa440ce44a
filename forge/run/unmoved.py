"""Say whether code, files from outside and artifacts are what they were when they were last read.

A step reads them by their names, at any time while it runs; what it made counts only where none of them moved.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.artifact import Member, Tree, name_fault
from forge.core.digest import digest_file
from forge.core.errors import StepError
from forge.plugin.parameters import files_of
from forge.run.ledger import is_same
from forge.store.disk import names
from forge.store.signatures import signature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from forge.core.files import Seen
    from forge.run.job import Job
    from forge.store.base import Store

_GRAIN = 2_000_000_000
"""Nanoseconds in which a file may change twice and keep its times."""
_FEW = 32
"""Files of an artifact up to which they are remembered one by one."""


@attrs.define
class Made:
    """Remember what the files of artifacts were when this process hashed them, by the artifacts' digests."""

    known: dict[str, dict[str, tuple[int, ...]]] = attrs.Factory(dict)

    def note(self, store: Store, tree: Tree) -> None:
        """Remember a tree that was just published, unless its folder holds anything else than what was hashed.

        Of equal trees the folder that lies there first stays, and what it holds may have been damaged since.
        """
        if len(tree.members) > _FEW:
            return
        found = _below(store.artifact_path(tree.digest))
        with suppress(OSError):
            if found == {n: signature(os.stat(store.object_path(m.digest))) for n, m in tree.members.items()}:
                self.known[tree.digest] = found

    def stands(self, store: Store, digest: str) -> bool:
        """Say whether an artifact's files are as they were when this process hashed them."""
        known = self.known.get(digest)
        return bool(known) and known == _below(store.artifact_path(digest))


def _below(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the signatures of all files in *folder* and below it, none where one of them is gone."""
    try:
        return {name: signature(os.stat(os.path.join(folder, name))) for name in names(folder)}
    except OSError:
        return {}


def signatures_of(instance: Any) -> dict[Path, tuple[int, ...]]:
    """Return the signatures of the files that a step reads from outside the store, as far as they are there."""
    found = {}
    for files in files_of(instance).values():
        for file in files:
            with suppress(OSError):  # the step that wants it finds better words
                found[file.path] = signature(os.stat(file.path))
    return found


def check_files(
    instance: Any, job: Job, store: Store, seen: Mapping[str, Seen], before: Mapping[Path, tuple[int, ...]]
) -> bool:
    """Refuse a result that was read from other bytes than its key says; keep the names and digests for lineage.

    *before* are the files' signatures when the step began: one that was written to since may have held anything in
    between, whatever it holds now. Return whether all files are as the build saw them, so that none had to be read
    again.
    """
    unchanged = True
    for parameter, files in files_of(instance).items():
        members, written = {}, ""
        for file in files:
            info = os.stat(file.path)
            now = signature(info)
            known = seen.get(str(file.path))
            fits = known is not None and known.signature == now
            digest = known.digest if known is not None and fits else digest_file(file.path, info.st_size)
            members[file.name] = Member(digest, info.st_size)
            unchanged = unchanged and fits
            if not fits and not is_same(before.get(file.path, ()), info):
                written = written or os.path.relpath(file.path, job.root)
        tree = Tree(members)
        if tree.digest != job.action["files"][parameter]:
            raise StepError(f"the files of `{parameter}` changed while step `{job.step}` read them", hint="build again")
        if written:
            raise StepError(
                f"`{written}` of `{parameter}` was written to while step `{job.step}` read it, and holds again what it "
                "did: what was read can't be told",
                hint="build again",
            )
        if not any(name_fault(name) for name in tree.members):  # a tree with such a name would not be read again
            store.publish_tree(tree, durable=False)
    return unchanged


def forget_pieces(store: Store, since: float) -> None:
    """Forget what was kept in pieces *since* a time, for they may be of other code or bytes than their keys say."""
    for pointer in (store.root / "pieces").glob("*/*.json"):
        with suppress(FileNotFoundError):
            if pointer.stat().st_mtime >= since - _GRAIN / 1e9:
                pointer.unlink()
