"""Put artifacts where an exporter wants them in the user's own tree, and notice when they are touched there."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import StepError
from forge.store.disk import unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from forge.core.artifact import Member, Tree
    from forge.core.step import Step
    from forge.store.base import Store
    from forge.store.signatures import Signatures


@attrs.frozen
class Delivery:
    """Lay one artifact out at the place that its step names.

    *signatures* spares reading what has not changed; *read* are the files that the build itself is made from; *made*
    says of a digest whether such a step made it, under another name of the manifest or at another place of the project.
    """

    step: Step
    root: Path
    store: Store
    signatures: Signatures
    read: frozenset[str] = frozenset()
    made: Callable[[str], bool] = lambda _: False

    def paths(self, tree: Tree) -> dict[Path, Member]:
        """Return the file for each member: *to* itself where there is one, else files below it."""
        place = self.root / str(self.step.destination)
        if len(tree.members) == 1:
            return {place: next(iter(tree.members.values()))}
        return {place / name: member for name, member in tree.members.items()}

    def outdated(self, tree: Tree) -> list[str]:
        """Return the files, by their paths in the project, that `make` would write."""
        files = self.paths(tree).items()
        return [str(path.relative_to(self.root)) for path, member in files if self._found(path) != member.digest]

    def make(self, tree: Tree, last: Tree | None, warn: Callable[[str], None]) -> None:
        """Write what is missing or other than it should be.

        *last* is what this step put there before. Where that was changed or taken away, *warn* says so before it is
        written again; what this step never wrote is never written over.
        """
        before = self.paths(last) if last is not None else {}
        for path, member in self.paths(tree).items():
            found = self._found(path)
            if found == member.digest:
                continue
            known = before[path].digest if path in before else None
            name = path.relative_to(self.root)
            if known is None and found and self.made(found):
                known = found
            if known is None and found is not None:
                message = f"`{name}` is there already, and step `{self.step.name}` did not write it"
                raise StepError(message, hint="move it away, or name another `to`")
            if found != known:
                state = "deleted" if found is None else "changed"
                warn(f"`{name}` was {state} since it was written: it is written again")
            self._write(path, member)

    def _found(self, path: Path) -> str | None:
        """Return the digest of what lies at *path*, an empty one for what is no plain file, None for nothing."""
        self._check_place(path)
        try:
            plain = stat.S_ISREG(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self.signatures.digest(path) if plain else ""

    def _check_place(self, path: Path) -> None:
        """Refuse to write through a link that leads out of the project, into the store, or into git's folder."""
        if path.is_relative_to(self.store.root) or ".git" in path.relative_to(self.root).parts:
            raise StepError(
                f"`{path.relative_to(self.root)}` is no place for files of a step", hint="name another `to`"
            )
        if str(path.absolute()) in self.read:
            name = path.relative_to(self.root)
            raise StepError(f"`{name}` is what this build reads: no step may write it", hint="name another `to`")
        parent = path.parent
        while not parent.exists():
            parent = parent.parent
        if not parent.resolve().is_relative_to(self.root.resolve()):
            raise StepError(f"`{path}` lies outside the project: `{parent}` is a link to `{parent.resolve()}`")

    def _write(self, path: Path, member: Member) -> None:
        self.store.check_object(member.digest)
        temporary = path.with_name(f".forge-{unique()[:12]}")  # a name may be as long as a name can be
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                raise StepError(f"`{path}` is a folder where step `{self.step.name}` puts a file", hint="move it away")
            self._copy(member, temporary, path)
        except (FileExistsError, NotADirectoryError) as error:
            hint = "move it away, or name another `to`"
            raise StepError(f"`{path}` can't be written: a file is in the way", hint=hint) from error
        except OSError as error:
            name = path.relative_to(self.root)
            hint = "the result is in the store: make room or allow it, and build again, or name another `to`"
            raise StepError(f"`{name}` can't be written: {error.strerror or error}", hint=hint) from error

    def _copy(self, member: Member, temporary: Path, path: Path) -> None:
        """Copy what the store has to *path*, whole or not at all; also Ctrl-C leaves nothing half done there."""
        import shutil

        try:
            shutil.copyfile(self.store.object_path(member.digest), temporary)
            temporary.chmod(0o755 if member.executable else 0o644)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
