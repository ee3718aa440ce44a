"""How far labels agree, by scikit-learn and krippendorff; None where a figure is not defined."""

from __future__ import annotations

import json
import math
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def order(values: Sequence[Any]) -> list[Any]:
    """Return the different values, numbers by size and all else by their text."""
    different = {json.dumps(value, ensure_ascii=False): value for value in values if value is not None}
    return sorted(
        different.values(), key=lambda value: (not is_number(value), value if is_number(value) else str(value))
    )


def is_number(value: Any) -> bool:
    """Say whether *value* has an order of its own."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def share_equal(one: Sequence[Any], other: Sequence[Any]) -> float | None:
    """Return the share of pairs that are equal."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one) if one else None


def kappa(one: Sequence[Any], other: Sequence[Any]) -> float | None:
    """Return Cohen's kappa; of numbers with quadratic weights, so that 3 for 2 counts less than 3 for 0."""
    from sklearn.metrics import cohen_kappa_score

    values = order([*one, *other])
    if len(values) < 2:  # noqa: PLR2004 - one value leaves nothing to agree on
        return None
    numbers = all(map(is_number, values))
    codes = [[values.index(value) for value in side] for side in (one, other)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kappa that is not defined comes with a warning, and as NaN
        found = float(cohen_kappa_score(*codes, weights="quadratic" if numbers else None))
    return None if math.isnan(found) else found


def alpha(raters: Sequence[Sequence[Any]]) -> float | None:
    """Return Krippendorff's alpha of several raters, each a value or None for each row; ordinal for numbers."""
    import krippendorff
    import numpy as np

    values = order([value for rater in raters for value in rater])
    pairable = [row for row in zip(*raters, strict=True) if sum(value is not None for value in row) > 1]
    if len(values) < 2 or not pairable:  # noqa: PLR2004
        return None
    codes = [[np.nan if value is None else values.index(value) for value in rater] for rater in raters]
    level = "ordinal" if all(map(is_number, values)) else "nominal"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = float(krippendorff.alpha(np.array(codes, dtype=float), level_of_measurement=level))
    return None if math.isnan(found) else found


def confusion(truth: Sequence[Any], said: Sequence[Any]) -> tuple[list[Any], list[list[int]]]:
    """Return the values, and how often each of them (rows) was called each (columns)."""
    from sklearn.metrics import confusion_matrix

    values = order([*truth, *said])
    codes = [[values.index(value) for value in side] for side in (truth, said)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one value alone is a matrix of one cell, which is right
        return values, confusion_matrix(*codes, labels=list(range(len(values)))).tolist()


def distance(one: dict[str, int], other: dict[str, int]) -> float | None:
    """Return the total variation distance of two distributions: the share that would have to move."""
    total, others = sum(one.values()), sum(other.values())
    if not total or not others:
        return None
    return sum(abs(one.get(v, 0) / total - other.get(v, 0) / others) for v in one.keys() | other.keys()) / 2
