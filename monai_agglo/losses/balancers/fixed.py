"""Weights chosen by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .base import Balancer, BalancerContext, Weighting

__all__ = ["FixedWeights"]


class FixedWeights(Balancer):
    r"""L = sum_i lambda_i l_i with constants lambda_i, as given (GPFM).

    Cost: none. The weights are not normalised: they sum to what was given. Defect: somebody has to find them, and the
    right ones change with the targets' scale.

    Args:
        n_teachers: T.
        weights: T numbers >= 0, one of them > 0.

    Raises:
        ValueError: for other weights.
    """

    alpha: torch.Tensor

    def __init__(self, n_teachers: int, weights: Sequence[float]) -> None:
        super().__init__(n_teachers)
        values = [float(w) for w in weights]
        if len(values) != n_teachers or not all(math.isfinite(w) and w >= 0 for w in values) or sum(values) <= 0:
            raise ValueError(f"fixed weights must be {n_teachers} numbers >= 0, one of them > 0, not {values}")
        self.weights_sum = sum(values)
        self.register_buffer("alpha", torch.tensor(values), persistent=False)  # they never change

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        return Weighting(self.alpha)
