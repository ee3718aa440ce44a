"""Put an artifact into the user's own tree."""

from __future__ import annotations

import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import attrs

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def _inside(_instance: object, _attribute: object, value: str) -> None:
    path = PurePosixPath(value)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"`to` must be a path below the project (`forge get` writes elsewhere), got `{value}`")


@attrs.frozen
class CopyOut:
    """Put an artifact at *to*, in your own tree: a file where it holds one, else a folder.

    A later build notices when what lies there was deleted or changed, says so, and puts it back.
    Files beside it are left alone. `forge get` writes an artifact anywhere, once.
    """

    to: str = attrs.field(validator=_inside)

    def destination(self) -> str:
        """Return where the engine puts the artifact, relative to the project."""
        return self.to

    def export(self, inputs: Mapping[str, forge.Artifact], out: Path, run: forge.Run) -> None:
        """Pass the artifact on."""
        files = inputs["files"].files()
        for name, path in files.items():
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        run.log(f"{len(files)} files")
