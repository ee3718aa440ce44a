"""Attention over a flat batch: each sample sees the shared beginning and itself, never its neighbours.

A padded batch of eight counselling dialogues computes a third of its products on padding, and the instruction
that all of them begin with eight times. One row without either gives the same losses and gradients; only this
function has to know where samples end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import forge

if TYPE_CHECKING:
    import torch

    from .samples import Flat

NAME = "forge_flat"
_PLAIN_UP_TO = 1024 * 1024
"""Scores a head for which plain products beat torch's fused attention on a CPU; above, memory decides against them."""


class FlatAttention:
    """Stand in for a model's attention (transformers' `AttentionInterface`); ``flat`` is the batch being computed.

    ``rows`` are the places of it that are asked, each once: many samples ask the end of the shared beginning.
    """

    def __init__(self) -> None:
        self.flat: Flat | None = None
        self.rows: torch.Tensor | None = None
        self._masks: dict[tuple[int, int, int | None, int], torch.Tensor] = {}

    def register(self) -> None:
        """Offer it to transformers under `NAME`; no mask is made for a name that is only in this interface."""
        from transformers import AttentionInterface

        AttentionInterface.register(NAME, self)

    def lay(self, flat: Flat) -> None:
        """Take the bounds of the next batch."""
        self.flat = flat
        self._masks.clear()
        self.rows = flat.asked.unique()

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """Return the attention of ``(1, heads, tokens, width)`` tensors as ``(1, tokens, heads, width)``."""
        import torch

        if self.flat is None or attention_mask is not None or s_aux is not None:
            raise forge.StepError(f"`{type(module).__name__}` computes attention in a way that is not known here")
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        shared = self.flat.shared
        sizes = [shared] if shared else []
        sizes += [end - start for start, end in self.flat.rests]
        # split, not sliced: the way back joins the pieces, instead of filling a whole tensor with zeros for each
        queries, keys, values = (tensor.split(sizes, dim=2) for tensor in (query, key, value))
        parts = []
        for place, asking in enumerate(queries):
            seen, told = keys[place], values[place]
            if shared and place:
                seen, told = torch.cat((keys[0], seen), dim=2), torch.cat((values[0], told), dim=2)
            part = self._attend(asking, seen, told, scale, dropout, sliding_window, softcap)
            parts.append(part.transpose(1, 2))
        return torch.cat(parts, dim=1), None

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        dropout: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        """Attend with each query standing at the end of the keys, as far back as *window* allows."""
        import torch
        from torch.nn import functional

        _, heads, asking, width = query.shape
        groups, seen = key.shape[1], key.shape[2]
        window = window if window and window < seen else None
        if softcap is None and (query.is_cuda or asking * seen > _PLAIN_UP_TO):
            mask = self._mask(asking, seen, window, query)
            return functional.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale, enable_gqa=heads != groups
            )
        # Heads that share keys are stacked below each other, so that no key is copied.
        stacked = query.reshape(groups, heads // groups * asking, width)
        mask = self._mask(asking, seen, window, query, times=heads // groups)
        key, value = key.squeeze(0), value.squeeze(0)  # not [0], whose way back fills a tensor with zeros first
        if softcap is None:
            scores = torch.baddbmm(mask, stacked, key.transpose(1, 2), alpha=scale)
        else:
            scores = softcap * ((stacked @ key.transpose(1, 2)) * (scale / softcap)).tanh() + mask
        weights = functional.dropout(scores.softmax(-1), dropout)
        return (weights @ value).view(1, heads, asking, width)

    def _mask(self, asking: int, seen: int, window: int | None, like: torch.Tensor, times: int = 1) -> torch.Tensor:
        """Return 0 where a query may look and minus infinity where not, *times* below itself; layers share it."""
        import torch

        known = self._masks.get((asking, seen, window, times))
        if known is None:
            here = torch.arange(seen - asking, seen, device=like.device)[:, None]
            there = torch.arange(seen, device=like.device)[None, :]
            hidden = there > here
            if window is not None:
                hidden |= there <= here - window
            known = torch.zeros(asking, seen, dtype=like.dtype, device=like.device).masked_fill(hidden, -torch.inf)
            self._masks[asking, seen, window, times] = known = known.repeat(times, 1)
        return known
