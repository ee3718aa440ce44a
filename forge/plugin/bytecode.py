"""Plugins' bytecode: what Python has kept of a source is believed only if the source can't have changed since.

Python takes a `.pyc` for the source's whose size and second of modification it names; both can be those of another
text, after an edit within a second or where the time was set back. A step's key is taken from the source, so what
runs must be the source. The time of a file's last change of any kind can't be set back: bytecode that is clearly
younger than that is as good as the source, and all other is compiled again.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.machinery import BYTECODE_SUFFIXES, ModuleSpec, SourceFileLoader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_GRAIN = 2_000_000_000
"""Nanoseconds that bytecode must be younger: a source may have been written again while it was compiled."""


def distrust_bytecode(packages: Iterable[str]) -> None:
    """Have modules of *packages* (top-level names) that are imported from now on run what their sources say."""
    found = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    if found is None:
        found = _Finder()
        sys.meta_path.insert(0, found)
    found.packages |= set(packages)


class _Finder:
    """Find modules as all others do, and load those of ``packages`` by a loader that looks twice at bytecode."""

    def __init__(self) -> None:
        self.packages: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in self.packages:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None:
                if type(spec.loader) is SourceFileLoader:
                    spec.loader = _Loader(name, spec.loader.path)
                return spec
        return None


class _Loader(SourceFileLoader):
    """Load a module from its source, unless its bytecode is clearly younger."""

    def get_data(self, path: str) -> bytes:
        """Return a file's bytes; bytecode that may be of another text is as if it were not there."""
        if path.endswith(tuple(BYTECODE_SUFFIXES)) and not _settled(self.path, path):
            raise FileNotFoundError(path)
        return super().get_data(path)


def _settled(source: str, bytecode: str) -> bool:
    """Say whether the source has not changed since the bytecode was made, and no link on its way was moved."""
    changed = max(os.stat(source).st_ctime_ns, os.lstat(source).st_ctime_ns)
    return changed + _GRAIN < os.stat(bytecode).st_mtime_ns <= time.time_ns()
