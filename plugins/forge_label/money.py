"""What tokens cost."""

from __future__ import annotations

import attrs
from attrs.validators import ge

_MILLION = 1_000_000


@attrs.frozen
class Price:
    """Declare what a million tokens of a model cost, in whatever currency the manifest's caps are in."""

    input: float = attrs.field(validator=ge(0.0))
    output: float = attrs.field(validator=ge(0.0))


def cost_of(price: Price | None, prompt_tokens: int, completion_tokens: int) -> float | None:
    """Return what so many tokens cost."""
    if price is None:
        return None
    return (prompt_tokens * price.input + completion_tokens * price.output) / _MILLION
