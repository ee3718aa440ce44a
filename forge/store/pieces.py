"""Parts of results by the key of what made them, so that an action that differs in little does little again.

A piece is a file beside no artifact: losing it costs work, never a result. It lies among the objects; a small file
under ``pieces/`` says which object belongs to a key. One that is damaged counts as none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from forge.core.errors import StoreError
from forge.store.used import touch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forge.store.base import Store


@attrs.frozen
class Pieces:
    """Keep pieces and find them again."""

    store: Store

    def find(self, key: str) -> Path | None:
        """Return the file that was kept under *key*, once it was read and found right, or None."""
        pointer = self.pointer(key)
        try:
            digest = json.loads(pointer.read_bytes())
            self.store.check_object(digest)
        except (OSError, ValueError, TypeError, AttributeError, StoreError):
            return None
        touch(self.store.root, pointer)
        return self.store.object_path(digest)

    def keep(self, key: str, write: Callable[[Path], None]) -> None:
        """Keep what *write* puts into the file that it is given."""
        with self.store.staging() as folder:
            write(folder / "piece")
            member = self.store.add_file(folder / "piece", durable=False)
        self.store.write_json(self.pointer(key), member.digest, durable=False)

    def pointer(self, key: str) -> Path:
        """Return the file that says which object belongs to *key*."""
        return self.store.root / "pieces" / key[:2] / f"{key[2:]}.json"
