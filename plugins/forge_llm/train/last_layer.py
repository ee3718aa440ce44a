"""The last layer for the tokens that are asked alone: nothing else looks at what it makes of the others.

Of a counselling dialogue a tenth of the tokens is learned. All layers but the last need every token, for later ones
look back at them; the last one needs every token's keys and values, and no more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from .attention import FlatAttention

    Compute = Callable[[torch.Tensor], torch.Tensor]

_DENSE = {"up_proj", "gate_up_proj"}
"""What a feed-forward part has that works token by token; a mixture of experts also balances them over all tokens."""


def ask_less(model: Any, attention: FlatAttention) -> int:
    """Let the last layer of *model* compute only what is asked; return how many of its parts do."""
    layers = getattr(model.get_decoder(), "layers", None)
    if not layers:
        return 0
    last = layers[-1]
    attending, forward = getattr(last, "self_attn", None), getattr(last, "mlp", None)
    parts = [part for name in ("q_proj", "o_proj") if (part := getattr(attending, name, None)) is not None]
    if forward is not None and _DENSE & {name for name, _ in forward.named_children()}:
        parts.append(forward)
    for part in parts:
        part.forward = partial(_forward, attention, part.forward)
    return len(parts)


def _forward(attention: FlatAttention, compute: Compute, x: torch.Tensor) -> torch.Tensor:
    """Return what *compute* makes of the asked rows of ``(1, tokens, width)``, and 0 for the others."""
    if attention.rows is None:
        return compute(x)
    rows = attention.rows.to(x.device)
    answer = compute(x.index_select(1, rows))
    whole = answer.new_zeros(1, x.shape[1], answer.shape[-1])
    return whole.index_copy(1, rows, answer)
