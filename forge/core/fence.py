"""Where a manifest may point: into its project, and where the person who runs it said so."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from forge.core.files import Files, fixed_part

VARIABLE = "FORGE_ALLOW"


class Outside(ValueError):
    """Say that a path leads out of what a manifest may name."""

    hint = f"give the path with `--set`, or name its folder in the environment: `{VARIABLE}=/data:/other`"


@attrs.frozen
class Fence:
    """Hold the folders that the paths of a manifest may lie in: *root*, and what a person *allowed*."""

    root: Path
    allowed: tuple[Path, ...] = ()

    @classmethod
    def around(cls, root: Path) -> Fence:
        """Return the fence of a project, with what the environment allows."""
        named = os.environ.get(VARIABLE, "").split(os.pathsep)
        return cls(root, tuple(Path(os.path.abspath(name)) for name in named if name))

    def allow(self, path: str) -> Fence:
        """Return the fence with a path that the person gave; of a glob its fixed part."""
        if not path.strip() or "\0" in path:
            return self
        return attrs.evolve(self, allowed=(*self.allowed, _plain(self.root / fixed_part(path)[0])))

    def holds(self, path: Path | str) -> bool:
        """Say whether a path, relative to the root, stays inside, as it is written and with its links followed."""
        joined = self.root / path
        folders = (self.root, *self.allowed)
        written, real = _plain(joined), Path(os.path.realpath(joined))
        return any(written.is_relative_to(_plain(folder)) for folder in folders) and any(
            real.is_relative_to(os.path.realpath(folder)) for folder in folders
        )

    def check(self, path: str) -> None:
        """Raise Outside for a path or a glob that leads out."""
        if "\0" in path:
            raise Outside("a path holds no NUL")
        fixed, wild = fixed_part(path)
        if ".." in wild.split("/"):
            raise Outside(f"`{path}` goes back by `..` behind a wildcard")
        if not self.holds(fixed):
            raise Outside(f"`{path}` leads out of the project")

    def check_links(self, files: Files) -> None:
        """Raise Outside for a file that a link below the matched folder fetches from elsewhere."""
        fixed, wild = fixed_part(files.pattern)
        base = os.path.join(self.root, fixed)
        if not wild and not os.path.isdir(base):
            return
        real = os.path.realpath(base)
        linked: dict[str, bool] = {base: False, base.rstrip("/"): False}

        def is_linked(path: str) -> bool:
            if path not in linked:
                linked[path] = os.path.islink(path) or is_linked(os.path.dirname(path))
            return linked[path]

        for file in files:
            if is_linked(os.path.join(base, file.name)):
                target = Path(os.path.realpath(file.path))
                if not target.is_relative_to(real) and not any(
                    target.is_relative_to(os.path.realpath(folder)) for folder in self.allowed
                ):
                    raise Outside(f"`{file.name}` is a link that leads out of `{fixed or '.'}`")


def _plain(path: Path) -> Path:
    return Path(os.path.abspath(path))
