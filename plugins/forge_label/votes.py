"""One set of labels out of several votes."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import forge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VOTES, AGREEMENT = "label_votes", "label_agreement"


def decided(votes: Sequence[Mapping[str, Any] | None], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the majority of each label, the votes themselves, and the least share that agrees on a label.

    Of values with equal votes the graver counts: the one that stands later in the label's enumeration, or the greater
    number. Half of the votes or more without usable labels refuse the row.
    """
    used = [vote for vote in votes if vote is not None]
    if 2 * len(used) <= len(votes):
        raise forge.Refused(f"only {len(used)} of {len(votes)} votes can be used")
    values: dict[str, Any] = {}
    shares = []
    for name, schema in properties.items():
        texts = Counter(json.dumps(vote[name], ensure_ascii=False, sort_keys=True) for vote in used)
        text, count = max(texts.items(), key=lambda item: (item[1], gravity(json.loads(item[0]), schema), item[0]))
        values[name] = json.loads(text)
        shares.append(count / len(votes))
    values[VOTES] = [None if vote is None else json.dumps(dict(vote), ensure_ascii=False) for vote in votes]
    values[AGREEMENT] = round(min(shares, default=1.0), 6)
    return values


def gravity(value: Any, schema: Mapping[str, Any]) -> float:
    """Return the place of *value* in an enumeration, or its size."""
    listed = schema.get("enum")
    if listed is not None and value in listed:
        return float(listed.index(value))
    return float(value) if isinstance(value, int | float) else 0.0
