"""Files and folders as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

import forge

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen
class AnyFiles:
    """Bring a file, a folder, or what a glob matches into the store, unread.

    Files are cloned where the file system can, else copied. With *link* they are not copied: the store and your own
    tree then share one file, which becomes read-only, for whoever writes into it writes into the store.
    """

    path: forge.Files
    link: bool = forge.setting(default=False)

    def fetch(self, out: Path, run: forge.Run) -> None:
        """Put every file into *out* under its name."""
        for done, file in enumerate(self.path, start=1):
            run.bring(file, out / file.name, link=self.link)
            run.progress(done, len(self.path))
