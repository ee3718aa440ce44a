"""How forge writes sizes, times and states; nothing is imported for it."""

from __future__ import annotations

import os

_KIB = 1024
_MINUTE = 60
_CODES = {
    "hit": "36",
    "ran": "32",
    "failed": "1;31",
    "skipped": "33",
    "warning": "33",
    "bold": "1",
    "dim": "2",
}


class Ink:
    """Colour words where they go to a terminal."""

    STATES = ("hit", "ran", "failed", "skipped")

    def __init__(self, terminal: bool) -> None:  # noqa: FBT001  # the only argument there is
        """Colour only where *terminal* says so and `NO_COLOR` does not say otherwise."""
        self.on = terminal and not os.environ.get("NO_COLOR")

    def __call__(self, style: str, text: str) -> str:
        """Return *text* in a style."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.on and text else text


def size_of(count: int) -> str:
    """Return a number of bytes as people write it."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} GiB"


def seconds_of(seconds: float) -> str:
    """Return a span of time as people write it."""
    return f"{seconds:.1f} s" if seconds < _MINUTE else f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
