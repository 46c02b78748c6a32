"""All teachers alike."""

from __future__ import annotations

import torch

from .base import Balancer, BalancerContext, Weighting

__all__ = ["EqualWeights"]


class EqualWeights(Balancer):
    r"""L = sum_i l_i / T.

    Cost: none. Defect: losses of large scale rule, those of small scale are not learnt; on normalised targets (where
    all losses have one scale) it is the baseline that learned weights must beat.

    Args:
        n_teachers: T.
    """

    alpha: torch.Tensor

    def __init__(self, n_teachers: int) -> None:
        super().__init__(n_teachers)
        self.register_buffer("alpha", torch.full((n_teachers,), 1 / n_teachers), persistent=False)  # it never changes

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        return Weighting(self.alpha)
