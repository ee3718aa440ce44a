"""Numbers, types and texts as people write them."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

_SHORT = 12
_LARGE, _SMALL = 1000, 0.001
_ACCOUNT = re.compile(r"(?<=://)[^/@\s]+@")


def figure(value: Any) -> str:
    """Return a figure as people write it; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= _LARGE or value.is_integer():
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= _SMALL else f"{value:.3g}"


def share(part: float, whole: float) -> str:
    """Return a share in per cent."""
    if not whole:
        return "–"
    per_cent = 100 * part / whole
    if 0 < per_cent < 0.1:  # noqa: PLR2004  # a tenth is the last digit that is shown
        return "< 0.1 %"
    return f"{per_cent:.1f} %" if per_cent < 10 and per_cent != round(per_cent) else f"{per_cent:.0f} %"  # noqa: PLR2004


def short(digest: str | None) -> str:
    """Return the first digits of a digest, enough to find it."""
    return (digest or "")[:_SHORT]


def moment(started: str) -> str:
    """Return a record's time to the minute."""
    return started[:16].replace("T", " ") + " UTC" if started else ""


def width_of(text: str) -> float:
    """Return about how wide *text* is, in widths of a digit; Chinese, Japanese and Korean signs are twice as wide."""
    return sum(1.9 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)


def fitted(text: str, widest: float) -> str:
    """Return *text*, cut to about *widest* digits."""
    if width_of(text) <= widest:
        return text
    kept = ""
    for sign in text:
        if width_of(kept + sign) > widest - 1:
            break
        kept += sign
    return kept.rstrip() + "…"


def unplaced(text: str, places: Iterable[str]) -> str:
    """Return *text* without the folders of this machine and without accounts in addresses."""
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(place.rstrip("/") + "/", "").replace(place, ".")
    return _ACCOUNT.sub("…@", text)


def type_of(kind: pl.DataType) -> str:
    """Return a column's type in words."""
    import polars as pl

    if isinstance(kind, pl.List | pl.Array):
        return f"list of {type_of(kind.inner)}"  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct):
        return "{" + ", ".join(field.name for field in kind.fields) + "}"
    names = {"String": "text", "Boolean": "yes or no", "Null": "nothing", "Categorical": "category", "Enum": "category"}
    name = str(kind).partition("(")[0]
    if kind.is_integer():
        return f"integer ({name.lower()})"
    if kind.is_float():
        return f"number ({name.lower()})"
    return names.get(name, name.lower())
