"""Artifacts: named trees of digests."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from forge.core.digest import digest_value
from forge.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping


_DIGEST = re.compile(r"[0-9a-f]{64}")
_PLAIN = re.compile(r"[^\0\\/]+(/[^\0\\/]+)*")
_DRIVE = re.compile(r"[A-Za-z]:")


def name_fault(name: str) -> str | None:
    """Say what is wrong with the name of a member, which must lead down from an artifact's folder on any machine."""
    if not _PLAIN.fullmatch(name):
        if name.startswith("/"):
            return "it is absolute"
        return "it has an empty part" if "\0" not in name and "\\" not in name else "it holds a NUL or a backslash"
    if _DRIVE.match(name):
        return "it names a drive"
    if not {".", ".."}.isdisjoint(name.split("/")):
        return "it has a part `.` or `..`"
    return None


@attrs.frozen
class Member:
    """Name one file's content: its digest, its size in bytes, and whether it may be executed."""

    digest: str
    size: int
    executable: bool = False


@attrs.frozen
class Tree:
    """Hold an artifact's members by their relative names, slashes between folders."""

    members: Mapping[str, Member]

    @cached_property
    def digest(self) -> str:
        """Return the digest of all names and contents."""
        return digest_value("tree", self.to_json())

    @property
    def size(self) -> int:
        """Return the bytes of all members."""
        return sum(member.size for member in self.members.values())

    def part(self, name: str) -> Tree:
        """Return the sub-tree below the folder *name*, with names relative to it; all of it for ``""``."""
        if not name:
            return self
        prefix = name + "/"
        return Tree({n[len(prefix) :]: m for n, m in self.members.items() if n.startswith(prefix)})

    def to_json(self) -> dict[str, list[Any]]:
        """Return the tree as canonical JSON values."""
        return {
            name: [m.digest, m.size, 1] if m.executable else [m.digest, m.size]
            for name, m in sorted(self.members.items())
        }

    @classmethod
    def from_json(cls, value: Any) -> Tree:
        """Read what `to_json` returned; anything else is a damaged tree."""
        try:
            tree = cls({name: Member(str(m[0]), int(m[1]), len(m) > 2) for name, m in value.items()})  # noqa: PLR2004
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            raise StoreError("a tree in the store is damaged", hint="run `forge store verify`") from error
        for name, member in tree.members.items():
            if not _DIGEST.fullmatch(member.digest):
                raise StoreError(
                    f"a tree in the store is damaged: `{name!a}` has no digest", hint="run `forge store verify`"
                )
            if (fault := name_fault(name)) is not None:
                message = f"a tree in the store has the member `{name!a}`, which is refused: {fault}"
                raise StoreError(message, hint="whoever wrote it is not to be trusted: `forge store verify`")
        return tree
