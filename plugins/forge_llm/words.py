"""Name what a person may have meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """Return names as literals, joined by commas."""
    return ", ".join(f"`{name}`" for name in names)


def meant(word: str, known: Iterable[str]) -> str:
    """Return a hint: the closest of *known*, or all of them."""
    names = list(known)
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else f"there is {listed(names)}"
