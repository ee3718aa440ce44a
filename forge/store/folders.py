"""Artifacts laid out as folders, whose files are hard links to the objects: what steps are given as their inputs."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from forge.store.disk import holds, join, named_errors, names

if TYPE_CHECKING:
    from pathlib import Path

    from forge.core.artifact import Tree
    from forge.store.base import Store

_READ_ONLY = 0o555


def folder_of(store: Store, tree: Tree, part: str = "") -> Path:
    """Return the folder that holds the tree, or *part* of it, once all its files were read and found right.

    A folder that is missing, or holds anything else, is made anew.
    """
    place = store.artifact_path(tree.digest)
    wanted = tree.part(part).members
    if names(place / part) != wanted.keys():
        _lay_out(store, tree)
    for name, member in wanted.items():
        if not holds(place / part / name, member):
            store.check_object(member.digest)  # raises where the object is damaged: it is the same file
            _lay_out(store, tree)
            break
    return place / part


def settle(store: Store, folder: Path, digest: str) -> None:
    """Make *folder* the place of a tree, unless another process has just put the same there."""
    place = store.artifact_path(digest)
    with named_errors(store.root):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            for base, _, _ in os.walk(place):
                os.chmod(base, _READ_ONLY)


def set_aside(store: Store, digest: str, staging: Path) -> None:
    """Move the folder of a tree below *staging* at once, so that nobody ever finds half of it; none is no error."""
    place = store.artifact_path(digest)
    with named_errors(store.root), suppress(FileNotFoundError):
        place.chmod(stat.S_IRWXU)  # to be renamed into another: that changes its entry for the one above
        place.rename(staging / "was")


def _lay_out(store: Store, tree: Tree) -> None:
    with store.staging() as staging:
        folder = staging / "artifact"
        folder.mkdir()
        for name, member in tree.members.items():
            store.check_object(member.digest)
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            join(store.object_path(member.digest), target)
        set_aside(store, tree.digest, staging)
        settle(store, folder, tree.digest)
