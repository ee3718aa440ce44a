"""Read off a curve which evaluation was the best one, and whether better ones have stopped coming.

Nothing else is remembered of it: a run that goes on from a checkpoint has its curve, and so decides as it would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HIGHER_IS_BETTER = {"eval_accuracy"}


def _evaluated(curve: Sequence[Mapping[str, float]], metric: str) -> list[tuple[float, int]]:
    """Return (badness, step) of each evaluation but the one before training."""
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    return [(sign * point[metric], int(point["step"])) for point in curve if metric in point and point["step"]]


def best_of(curve: Sequence[Mapping[str, float]], metric: str) -> int:
    """Return the step of the best evaluation; of equal ones the first."""
    return min(_evaluated(curve, metric))[1]


def has_stalled(curve: Sequence[Mapping[str, float]], metric: str, patience: int) -> bool:
    """Say whether the last *patience* evaluations were none better than the best before them."""
    points = _evaluated(curve, metric)
    return "loss" in curve[-1] and metric in curve[-1] and points.index(min(points)) + patience < len(points)


def verdict(curve: Sequence[Mapping[str, float]], metric: str) -> str:
    """Say when the metric was best."""
    step = best_of(curve, metric)
    value = next(point[metric] for point in curve if point["step"] == step)
    return f"was best after step {step}: {value:.4f}"
