"""Files of a person's own that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give a path beside *target* that takes its place where all goes well, and leaves nothing where it does not.

    Its name ends as the target's does, for writers that go by that. A link stays one; what is no plain file, such as
    a pipe, is written to as it is.
    """
    if target.exists() and not target.is_file():
        yield target
        return
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield fresh
        fresh.replace(target)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
