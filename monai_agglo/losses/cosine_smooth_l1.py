"""The default feature loss on a CPU, loss and gradient in one pass over the maps.

The plain formula takes about twenty passes over maps of tens of megabytes, half of them strided: a good part of a step
of a light student. Here blocks of a few hundred tokens stay in the CPU cache. GPUs use the formula with captured
kernels.
"""

from __future__ import annotations

import torch
from torch.autograd.function import once_differentiable

__all__ = ["cosine_smooth_l1"]

TOKENS = 256
"""Tokens per block: two blocks of 384 channels take less than 1 MB."""


def cosine_smooth_l1(
    prediction: torch.Tensor, target: torch.Tensor, cosine: float, smooth_l1: float, eps: float
) -> torch.Tensor:
    """``cosine`` (1 - cos) + ``smooth_l1`` smoothL1 of every token; see :class:`~.feature.FeatureLoss`.

    Args:
        prediction: (B, C, h, w) of any type; computed in float32. The only input with a gradient, of its own type;
            not twice differentiable.
        target: (B, C, h, w).
        cosine: factor of the first term.
        smooth_l1: factor of the second.
        eps: minimum norm of a feature.

    Returns:
        (B, h, w) float32.
    """
    return _CosineSmoothL1.apply(prediction, target, cosine, smooth_l1, eps)


class _CosineSmoothL1(torch.autograd.Function):
    @staticmethod
    def forward(ctx, prediction, target, cosine, smooth_l1, eps):
        p, t = _tokens(prediction), _tokens(target)
        loss = torch.empty(len(p))
        slope = torch.empty_like(p) if ctx.needs_input_grad[0] else None
        for part in _parts(len(p)):
            loss[part], gradient = _block(p[part].float(), t[part].float(), cosine, smooth_l1, eps, slope is not None)
            if slope is not None:
                slope[part] = gradient
        ctx.save_for_backward(slope)
        return loss.view(prediction.shape[0], *prediction.shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        (slope,) = ctx.saved_tensors
        factor, gradient = upstream.reshape(-1, 1), torch.empty_like(slope)
        for part in _parts(len(slope)):
            gradient[part] = slope[part].float() * factor[part]
        return gradient.view(*upstream.shape, -1).permute(0, 3, 1, 2), None, None, None, None


def _parts(tokens: int) -> list[slice]:
    return [slice(start, start + TOKENS) for start in range(0, tokens, TOKENS)]


def _tokens(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) as (B h w, C), a view where channels come last in memory."""
    count, channels, high, wide = maps.shape
    if maps.is_contiguous(memory_format=torch.channels_last):
        return maps.permute(0, 2, 3, 1).reshape(-1, channels)
    tokens = maps.new_empty(count, high * wide, channels)
    for own, one in zip(tokens, maps.flatten(2)):
        own.copy_(one.t())  # PyTorch transposes matrices in blocks, higher dimensions element by element
    return tokens.flatten(0, 1)


def _block(
    p: torch.Tensor, t: torch.Tensor, cosine: float, smooth_l1: float, eps: float, with_slope: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Loss of tokens (n, C), and its gradient with respect to ``p`` if required."""
    p_length, t_length = (x.square().sum(1).clamp_(min=eps**2).sqrt_() for x in (p, t))
    lengths = p_length * t_length
    angle = (p * t).sum(1) / lengths
    # With the difference d and c = d between -1 and 1, smoothL1 is c (d - c / 2), and its gradient is c.
    away = p - t
    near = away.clamp(-1, 1)
    loss = cosine * (1 - angle) + (smooth_l1 / p.shape[1]) * away.sub_(near, alpha=0.5).mul_(near).sum(1)
    if not with_slope:
        return loss, None
    # a prediction with clamped norm has a constant norm: only its direction counts
    turn = torch.where(p_length > eps, cosine * angle / p_length.square(), 0)
    slope = near.mul_(smooth_l1 / p.shape[1])
    return loss, slope.addcmul_(t, (-cosine / lengths)[:, None]).addcmul_(p, turn[:, None])
