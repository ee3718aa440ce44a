"""RMS normalisation of a frozen base as one operation: the same function as transformers', in fewer ones.

transformers takes six operations on the way there and ten on the way back, and keeps two fp32 copies of what it is
given. Here what was given is kept as it was, with one number a token.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_PROBE = 64  # tokens


def speed_up_norms(model: Any) -> int:
    """Replace the forward of each frozen norm in *model* that computes just this; return how many there were.

    Families write their norms in their own ways (some multiply by 1 + weight), so each is asked: a norm is replaced
    when both give the same values, to the last digit of the type.
    """
    operation = _operation()
    norms = [m for m in model.modules() if type(m).__name__.endswith("RMSNorm") and _is_the_same(operation, m)]
    for norm in norms:
        norm.forward = partial(_forward, operation, norm)
    return len(norms)


def _is_the_same(operation: Any, norm: Any) -> bool:
    import torch

    weight, epsilon = getattr(norm, "weight", None), getattr(norm, "variance_epsilon", None)
    if epsilon is None or weight is None or weight.requires_grad:
        return False
    values = torch.linspace(-3, 3, _PROBE * len(weight), dtype=weight.dtype, device=weight.device)
    values = values.view(1, _PROBE, len(weight))
    with torch.no_grad():
        one, other = norm(values), operation.apply(values, weight, epsilon)
    return one.dtype == other.dtype and bool(torch.allclose(one, other, rtol=2 * torch.finfo(one.dtype).eps, atol=0))


def _forward(operation: Any, norm: Any, x: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = operation.apply(x, norm.weight, norm.variance_epsilon)
    return answer


def _operation() -> Any:
    """Return the operation; its class needs torch to be defined."""
    import torch

    class Norm(torch.autograd.Function):  # type: ignore[misc]
        """y = w x / √(mean x² + ε), computed in fp32 and rounded before w is multiplied, and its gradient for x.

        With n = x / √(mean x² + ε) and d = w · ∂y: ∂x = (d - n mean(d n)) / √(mean x² + ε).
        """

        @staticmethod
        def forward(context: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
            wide = x.float() if x.dtype != torch.float32 else x.clone()
            squares = torch.linalg.vecdot(wide, wide).unsqueeze(-1)
            inverse = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
            context.save_for_backward(x, weight, inverse)
            even = wide.mul_(inverse).to(x.dtype)
            return even.mul_(weight) if even.dtype == weight.dtype else even * weight

        @staticmethod
        def backward(context: Any, gradient: torch.Tensor) -> Any:
            x, weight, inverse = context.saved_tensors
            even = x * inverse  # fp32, whatever x is
            wide = (gradient * weight).float()
            mean = torch.linalg.vecdot(wide, even).unsqueeze(-1).div_(x.shape[-1])
            return wide.addcmul_(even, mean, value=-1).mul_(inverse).to(x.dtype), None, None

    return Norm
