"""Files and folders as they are."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import attrs

import forge

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen
class AnyFiles:
    """Bring a file, a folder, or what a glob matches into the store, unread."""

    path: forge.Files

    def fetch(self, out: Path, run: forge.Run) -> None:
        """Copy every file to *out* under its name."""
        for done, file in enumerate(self.path, start=1):
            target = out / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.path, target)
            run.progress(done, len(self.path))
