"""Say how far a figure may be from the receipt's when another machine finds it again.

Another processor adds numbers in another order, and a greedy reply may turn where two tokens are as likely. So a few
rows may differ, and losses by a little; what is counted in the rows themselves is exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from forge_llm.check.figures import (
    ACCURACY,
    COMMONEST,
    DISTANCES,
    DISTINCT,
    F1,
    LOSSES,
    MAE,
    POSITIONS,
    ROWS,
    SAME,
    is_share,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARE = 0.02
"""A share may be off by so much, or by a row; by two where there are `MANY` rows."""
MANY = 16
RELATIVE, LEAST = 0.05, 0.005
"""A loss or a divergence may be off by this share of itself, and these nats."""
FAR = 3
"""So many times as far as a share may an F1 or a mean distance be, in which a single row weighs more."""

_EXACT = (ROWS, COMMONEST)
_OF_ROWS = "ends"


def beyond(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the figures found *now* that are farther from those recorded *then* than another machine explains."""
    rows = now.get(ROWS) or 1
    return [
        name
        for name, value in now.items()
        if name in then and not alike(name.rpartition(".")[2], then[name], value, rows)
    ]


def alike(name: str, then: Any, now: Any, rows: int) -> bool:
    """Say whether two values of one figure are the same but for the machine."""
    if name in SAME:
        return then is now or then is False  # what differed from the model is compared with itself here
    if not _is_number(then) or not _is_number(now):
        return bool(then == now)
    if name in _EXACT:
        return bool(then == now)
    if name == "perplexity":
        return min(then, now) > 0 and alike("answer_loss", math.log(then), math.log(now), rows)
    return bool(abs(then - now) <= _room(name, then, rows) + 1e-6)


def _room(name: str, then: float, rows: int) -> float:
    share = max(SHARE, (2 if rows >= MANY else 1) / rows)
    if name == DISTINCT:
        return share * rows
    if name in LOSSES:
        return RELATIVE * abs(then) + LEAST
    if name in DISTANCES or name.endswith(MAE):
        return FAR * share + 2 * RELATIVE * abs(then)
    if name.startswith("macro_f1") or name.endswith(F1):
        return FAR * share
    if name in POSITIONS and name != _OF_ROWS:
        return max(SHARE, share / 2)
    return share if is_share(name) or name.endswith(ACCURACY) else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
