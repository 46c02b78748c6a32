"""Exponential moving average of the teachers' losses."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["RunningMean"]


class RunningMean(nn.Module):
    """Exponential moving average, right from the first value on (as Adam's moments, divided by the weight so far).

    Values that are not finite are passed over, so that one bad batch does not spoil the average for good. Nothing in
    here waits for the GPU.

    Args:
        size: number of averages.
        decay: weight of the past per step, in [0, 1).
        eps: smallest value that :meth:`value` gives.

    Raises:
        ValueError: for a decay out of range.
    """

    total: torch.Tensor
    weight: torch.Tensor

    def __init__(self, size: int, decay: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of a running mean must be in [0, 1), not {decay}")
        self.decay = decay
        self.eps = eps
        self.register_buffer("total", torch.zeros(size))
        self.register_buffer("weight", torch.zeros(size))

    def value(self, otherwise: torch.Tensor) -> torch.Tensor:
        """The averages so far.

        Args:
            otherwise: (size,), taken where nothing has been seen yet.

        Returns:
            (size,), detached, at least eps.
        """
        seen = self.total / self.weight.clamp(min=1e-12)
        return torch.where(self.weight > 0, seen, otherwise.detach()).clamp(min=self.eps)

    @torch.no_grad()
    def update(self, values: torch.Tensor) -> None:
        """See a step's values.

        Args:
            values: (size,).
        """
        fine = torch.isfinite(values)
        rate = (1 - self.decay) * fine
        self.total.lerp_(torch.where(fine, values, 0.0), rate)
        self.weight.lerp_(torch.ones_like(self.weight), rate)
