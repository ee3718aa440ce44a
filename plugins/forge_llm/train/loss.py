"""The loss over learned tokens as one operation that keeps no fp32 copy of the logits."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ROWS = {"cpu": 16, "other": 1024}
"""Rows of logits that are in fp32 at once: with 50,000 tokens 3 MB, which stay in a processor's cache."""


def summed(
    logits: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None, terms: float = 1.0
) -> torch.Tensor:
    """Return the tokens' cross entropies, summed, each as often as it weighs, and divided by *terms*.

    *logits* are ``(tokens, vocabulary)``, *wanted* and *weights* ``(tokens,)``; all is computed in fp32, and the
    gradient rounded once.
    """
    weights = weights.to(logits.device) if weights is not None else None
    answer: torch.Tensor = _operation().apply(logits, wanted, weights, terms)
    return answer


@cache
def _operation() -> Any:
    """Return the operation; its class needs torch to be defined."""
    import torch

    class Summed(torch.autograd.Function):  # type: ignore[misc]
        """-Σ w/t log softmax(logits)[wanted], and its gradient w/t (softmax(logits) - [wanted]), made on the way."""

        @staticmethod
        def forward(
            context: Any, logits: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None, terms: float
        ) -> torch.Tensor:
            learns = context.needs_input_grad[0]
            gradient = torch.empty_like(logits) if learns else None
            total = torch.zeros((), dtype=torch.float32, device=logits.device)
            size = _ROWS.get(logits.device.type, _ROWS["other"])
            for start in range(0, len(logits), size):
                rows = slice(start, start + size)
                logs = torch.log_softmax(logits[rows], -1, dtype=torch.float32)
                one = torch.ones_like(wanted[rows, None], dtype=torch.float32)
                each = (one if weights is None else weights[rows, None].float()) / terms
                total -= (logs.gather(1, wanted[rows, None]) * each).sum()
                if gradient is not None:
                    gradient[rows] = logs.exp_().scatter_add_(1, wanted[rows, None], -one).mul_(each)
            if gradient is not None:
                context.save_for_backward(gradient)
            return total

        @staticmethod
        def backward(context: Any, outer: torch.Tensor) -> Any:
            (gradient,) = context.saved_tensors
            return gradient.mul_(outer), None, None, None

    return Summed


def hits_of(logits: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None) -> float:
    """Return how much the tokens weigh that have the highest logit of their place."""
    right = (logits.argmax(-1) == wanted).float()
    return float((right if weights is None else right * weights.to(right.device)).sum())
