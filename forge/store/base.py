"""The content-addressed store: objects by digest, trees of them, and a staging area on the same file system.

Layout below the root: ``objects/ab/…`` files by digest, read-only; ``trees/ab/….json``; ``artifacts/ab/…/`` trees
laid out as folders, whose files are hard links to the objects; ``actions/ab/….json`` run records; ``claims/`` who is
running what; ``scratch/`` what unfinished actions keep; ``staging/`` half-made things;
``logs/``, ``journals/``, ``builds/``. Publishing goes members, tree, record: what is named is there.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from forge.core.artifact import Member, Tree, name_fault
from forge.core.digest import canonical, digest_bytes, digest_file
from forge.core.errors import StepError, StoreError
from forge.store.disk import (
    NO_LINKS,
    created,
    is_one_file,
    is_sound,
    join,
    named_errors,
    reads,
    remove,
    size_at,
    sync,
    unique,
)
from forge.store.folders import settle
from forge.store.signatures import signature
from forge.store.used import shared, touch

FORMAT = "1"
Brought = Mapping[str, tuple[str, tuple[int, ...]]]
_FOLDERS = (
    "objects",
    "trees",
    "artifacts",
    "actions",
    "claims",
    "scratch",
    "staging",
    "logs",
    "journals",
    "builds",
    "pieces",
    "jobs",
)
_RECENT = 60.0
"""Seconds for which a file's time is as good as now."""
_READ_ONLY = 0o444
_EXECUTABLE = 0o555


@attrs.frozen
class Store:
    """Read and write one store folder; any number of processes may use it at once."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Store:
        """Return the store at *root*, made if it is not there; a store of another format is refused."""
        store = cls(root.absolute())
        marker = store.root / "format"
        with named_errors(store.root):
            try:
                found = marker.read_text().strip()
            except FileNotFoundError:
                try:
                    store.root.mkdir(parents=True, exist_ok=True)
                except (FileNotFoundError, FileExistsError) as error:
                    hint = "name another place with `--store`"
                    raise StoreError(f"no store can be made at `{root}`: {error.strerror}", hint=hint) from error
                store.write(marker, FORMAT.encode())
                found = FORMAT
        if found != FORMAT:
            hint = "name another store with `--store`, or take the forge that made this one"
            if not found:
                hint = (
                    f"a crash of the disk may leave it so: write `{FORMAT}` into `{marker}`, then `forge store verify`"
                )
            raise StoreError(f"the store `{root}` has format `{found}`, this forge reads `{FORMAT}`", hint=hint)
        for folder in _FOLDERS:
            if not (store.root / folder).is_dir():
                with named_errors(store.root):
                    (store.root / folder).mkdir(exist_ok=True)
        return store

    # ---------------------------------------------------------------- objects

    def object_path(self, digest: str) -> Path:
        """Return where the bytes of *digest* lie."""
        return self.root.joinpath("objects", digest[:2], digest[2:])

    def add_file(self, path: Path, *, durable: bool = True, digest: str = "") -> Member:
        """Take a file of the staging area into the objects; it stays where it is, the same file under a second name.

        What is *durable* is on the disk when this returns (docs/decisions/0006-durability.md); a *digest* that is
        known is not computed again.
        """
        with named_errors(self.root):
            return self._add(str(path), os.lstat(path), digest, durable=durable)

    def holds(self, member: Member) -> bool:
        """Say whether an object is there at its size; what is found is in use."""
        path = self.object_path(member.digest)
        if size_at(path) != member.size:
            return False
        touch(self.root, path)
        return True

    def _add(self, path: str, info: os.stat_result, digest: str, *, durable: bool) -> Member:
        """Take a file in whose *digest* is known, or an empty string."""
        if not stat.S_ISREG(info.st_mode):
            name = os.path.basename(path)
            raise StepError(f"`{name}` is not a plain file", hint="an artifact holds files and folders only")
        digest = digest or digest_file(path, info.st_size)
        target = os.path.join(self.root, "objects", digest[:2], digest[2:])
        if durable and size_at(target) != info.st_size:
            sync(path)
        if time.time() - info.st_mtime > _RECENT:
            os.utime(path)  # a step gave it an old time, and collections go by it
        os.chmod(path, _READ_ONLY)
        with shared(self.root):
            self._publish(path, target, info.st_size)
        return Member(digest, info.st_size, bool(info.st_mode & stat.S_IXUSR))

    def _publish(self, path: str, target: str, size: int) -> None:
        """Give a file the name *target* as well; where an object lies there already, give that the name *path*."""
        try:
            os.link(path, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)  # another process may be as far
            self._publish(path, target, size)
        except FileExistsError:
            same = is_one_file(path, target)  # an input's file, which was just hashed by its other name
            if (same or is_sound(target, size)) and touch(self.root, Path(target)):
                if not same:
                    os.unlink(path)
                    join(Path(target), Path(path))
            else:  # what lies there is damaged
                second = f"{path}.{unique()}"
                os.link(path, second)
                os.replace(second, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if is_sound(target, size) and touch(self.root, Path(target)):
                os.unlink(path)
            else:
                os.replace(path, target)
            join(Path(target), Path(path))

    def add_copy(self, path: Path) -> Member:
        """Take a file from elsewhere into the objects; it stays where it is."""
        import shutil

        with self.staging() as folder:
            copy = folder / "file"
            with named_errors(self.root):
                shutil.copyfile(path, copy)
                copy.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWUSR)
            return self.add_file(copy)

    def read_object(self, member: Member) -> bytes:
        """Return an object's bytes, verified."""
        data = self.object_path(member.digest).read_bytes()
        if digest_bytes(data) != member.digest:
            raise self._damaged(member.digest)
        return data

    # ---------------------------------------------------------------- trees

    def add_tree(self, folder: Path, *, durable: bool = True, known: Brought | None = None) -> Tree:
        """Publish *folder*, which becomes the artifact: members first, then the tree; return the tree.

        *known* maps paths to digests, each good as long as the file has the signature beside it.
        """
        with named_errors(self.root):
            tree = Tree(self._add_below(folder, known or {}, durable=durable))
        self.publish_tree(tree, durable=durable)
        settle(self, folder, tree.digest)
        return tree

    def _add_below(self, folder: Path, known: Brought, *, durable: bool) -> dict[str, Member]:
        members: dict[str, Member] = {}
        if folder.is_symlink():
            raise StepError("the step put a link in the place of its folder", hint="fill the folder that it is given")
        prefix = f"{folder}{os.sep}"
        for base, folders, names in os.walk(folder):
            folders.sort()
            linked = [n for n in folders if os.path.islink(os.path.join(base, n))]
            if linked:
                raise StepError(f"`{linked[0]}` is a link", hint="an artifact holds files and folders only")
            for name in sorted(names):
                path = os.path.join(base, name)
                inner = path[len(prefix) :]
                if (fault := name_fault(inner)) is not None:
                    raise StepError(f"a file of the step can't be called `{inner!a}`: {fault}")
                info = os.lstat(path)
                digest, found = known.get(path, ("", ()))
                fits = bool(digest) and signature(info) == found
                # what was brought in from elsewhere can be brought in again
                members[inner] = self._add(path, info, digest if fits else "", durable=durable and not fits)
        return members

    def publish_tree(self, tree: Tree, *, durable: bool = True) -> Tree:
        """Write a tree whose members are stored already."""
        self.write(self.tree_path(tree.digest), canonical(tree.to_json()), fresh=True, durable=durable)
        return tree

    def tree(self, digest: str) -> Tree:
        """Return a published tree, verified."""
        try:
            value = json.loads(self.tree_path(digest).read_bytes())
        except (OSError, ValueError) as error:
            raise self._damaged(digest) from error
        tree = Tree.from_json(value)
        if tree.digest != digest:
            raise self._damaged(digest)
        return tree

    def complete(self, digest: str) -> Tree | None:
        """Return the tree if it and all its members are there at their sizes, else None."""
        try:
            tree = self.tree(digest)
        except StoreError:
            return None
        fits = all(size_at(self.object_path(m.digest)) == m.size for m in tree.members.values())
        return tree if fits else None

    def artifact_path(self, digest: str) -> Path:
        """Return where the tree of *digest* lies as a folder, if it does."""
        return self.root.joinpath("artifacts", digest[:2], digest[2:])

    def checkout(self, tree: Tree, folder: Path) -> None:
        """Lay the tree out below *folder* as links to verified objects."""
        for name, member in tree.members.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            source = self.object_path(member.digest)
            self.check_object(member.digest)
            target.symlink_to(source)

    def export(self, tree: Tree, folder: Path) -> None:
        """Copy the tree's files to a folder of the user's own."""
        import shutil

        for name, member in tree.members.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self.check_object(member.digest)
            shutil.copyfile(self.object_path(member.digest), target)
            target.chmod(0o755 if member.executable else 0o644)

    def check_object(self, digest: str) -> None:
        """Read an object and compare its digest; a damaged or missing one is moved aside and reported."""
        path = self.object_path(digest)
        size = size_at(path)
        if size is not None and digest_file(path, size) == digest:
            return
        if size is not None:
            # another process may have moved it meanwhile
            with named_errors(self.root), suppress(FileNotFoundError):
                path.replace(self.root / "staging" / f"damaged-{digest[:16]}-{unique()[:8]}")
        raise self._damaged(digest)

    def tree_path(self, digest: str) -> Path:
        """Return where the tree of *digest* lies."""
        return self.root.joinpath("trees", digest[:2], f"{digest[2:]}.json")

    def _damaged(self, digest: str) -> StoreError:
        return StoreError(
            f"object `{digest[:16]}…` is damaged or missing in the store `{self.root}`",
            hint="build again: what is damaged was set aside and is made anew",
        )

    # ---------------------------------------------------------------- writing

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give a fresh folder on the store's file system, removed afterwards."""
        folder = self.root / "staging" / unique()
        with named_errors(self.root):
            folder.mkdir()
        try:
            yield folder
        finally:
            # what can't be removed is garbage that a collection takes; the reason of a failure must not be lost for it
            with suppress(OSError):
                remove(folder)

    def write(self, path: Path, data: bytes, *, fresh: bool = False, durable: bool = True) -> None:
        """Write a small file whole or not at all; with *fresh* an existing file is left as it is."""
        if fresh and reads(path, data) and touch(self.root, path):
            return
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f".{name}.{unique()}")
        with named_errors(self.root):
            try:
                with created(temporary) as file:
                    file.write(data)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                with shared(self.root):
                    os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise

    def write_json(self, path: Path, value: Any, *, durable: bool = True) -> None:
        """Write a JSON file whole or not at all."""
        self.write(path, json.dumps(value, ensure_ascii=False).encode(), durable=durable)


@attrs.define
class StoredTree:
    """Know an artifact by its digest, and read it where its members matter."""

    store: Store
    digest: str
    _tree: Tree | None = None

    @property
    def tree(self) -> Tree:
        """Return the tree, verified."""
        if self._tree is None:
            self._tree = self.store.tree(self.digest)
        return self._tree

    @property
    def members(self) -> Mapping[str, Member]:
        """Return its members by their names."""
        return self.tree.members

    def part(self, name: str) -> Tree:
        """Return the sub-tree below the folder *name*."""
        return self.tree.part(name)
