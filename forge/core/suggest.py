"""Suggest what a person may have meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the closest of *known*, or all of them where nothing is close and they are few."""
    from difflib import get_close_matches  # needed when something is wrong already

    names = sorted(set(known))
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    if names and len(names) <= 12:  # noqa: PLR2004  # a longer list helps nobody
        return "there is " + ", ".join(f"`{name}`" for name in names)
    return None
