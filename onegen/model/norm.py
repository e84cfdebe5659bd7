"""RMS normalisation, plain and with one scale per view (docs/onediffusion.md).

The four modulated norms of a block all have the form rmsnorm(x) * scale[view]: the norm's weight and the view's
modulation are multiplied where they are small, (views, D), and meet the tokens in one pass. Written with ordinary
operations the gathered scales and each intermediate would be kept for the backward pass, as (tokens, D) each. Here x is
kept alone.
"""

from typing import Any

import torch
from torch import nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis: normalised in float32, cast back, weighted."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalised x (..., width), in x's dtype."""
        return (_inverse_rms(x, self.eps) * x).to(x.dtype) * self.weight

    def by_view(self, x: torch.Tensor, factor: torch.Tensor, view_of_token: torch.Tensor) -> torch.Tensor:
        """Return norm(x) * factor[view_of_token] for tokens x (L,D), factors (V,D) and indices (L,), in x's dtype."""
        scale = self.weight.to(torch.promote_types(x.dtype, torch.float32)) * factor
        normed: torch.Tensor = _ScaledRMSNorm.apply(x, scale, view_of_token, self.eps)  # type: ignore[no-untyped-call]
        return normed


class _ScaledRMSNorm(torch.autograd.Function):
    """y = x * rsqrt(mean(x^2) + eps) * scale[view]; keeps x, one number per token, and the small scale."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, view: torch.Tensor, eps: float) -> torch.Tensor:
        inverse = _inverse_rms(x, eps)
        ctx.save_for_backward(x, inverse, scale, view)
        return scale.index_select(0, view).mul_(inverse).mul_(x).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        x, inverse, scale, view = ctx.saved_tensors
        (grad,) = grads
        normed = inverse * x
        grad_x = grad_scale = None
        if ctx.needs_input_grad[1]:
            grad_scale = torch.zeros_like(scale).index_add_(0, view, normed * grad)
        if ctx.needs_input_grad[0]:
            grad_normed = scale.index_select(0, view).mul_(grad)
            projection = torch.linalg.vecdot(grad_normed, normed).div_(x.shape[-1]).unsqueeze(-1)
            grad_x = grad_normed.sub_(normed.mul_(projection)).mul_(inverse).to(x.dtype)
        return grad_x, grad_scale, None, None


def _inverse_rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    return torch.rsqrt(norm.square() / x.shape[-1] + eps)
