"""The learning rate of each optimiser step, as a function of the step alone: a resumed run needs no state for it."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "cosine-restarts", "constant", "inverse-sqrt", "wsd"]


def share_of(schedule: Schedule, step: int, steps: int, warm: int, *, restarts: int = 1, decay: float = 0.1) -> float:
    """Return by what the learning rate is multiplied at *step*, counted from 1, of *steps* with *warm* warming ones.

    The shapes are those of transformers' `get_scheduler`, but for the first step, which transformers makes with a
    rate of 0: here the warm-up begins one step later in its line. ``wsd`` is warm-up, then stable, then a linear
    way down over the last *decay* of all steps; ``cosine-restarts`` runs its half wave *restarts* times.
    """
    if step <= warm:
        return step / warm
    past = step - 1 - warm
    gone = past / max(1, steps - warm)
    shapes = {
        "linear": 1 - gone,
        "cosine": (1 + math.cos(math.pi * gone)) / 2,
        "cosine-restarts": (1 + math.cos(math.pi * (restarts * gone % 1))) / 2,
        "constant": 1.0,
        "inverse-sqrt": math.sqrt((warm or 1) / ((warm or 1) + past)),
        "wsd": min(1.0, (steps - step + 1) / max(1, round(steps * decay))),
    }
    return shapes[schedule]


def warming(steps: int, ratio: float, warmup_steps: int | None) -> int:
    """Return how many steps warm up; a number of steps goes before a ratio."""
    return min(steps, warmup_steps) if warmup_steps is not None else math.ceil(steps * ratio)
