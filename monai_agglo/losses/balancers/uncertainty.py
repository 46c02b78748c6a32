"""Weights from learned uncertainties."""

from __future__ import annotations

import torch
from torch import nn

from .base import Balancer, BalancerContext, Weighting

__all__ = ["UncertaintyBalancer"]


class UncertaintyBalancer(Balancer):
    r"""L = sum_i l_i exp(-s_i) / 2 + s_i / 2 with learned s_i, the log of the variance of teacher i's residual.

    Source: Kendall, Gal and Cipolla, CVPR 2018. The minimum over s_i is at s_i = log l_i: weights become 1 / (2 l_i),
    as AdaLoss with a mean that the optimiser keeps.

    Cost: losses only, T parameters. Defects: the weights are free (they do not sum to 1), follow no faster than the
    learning rate lets s move (raw losses of 1000 need s = 7), and grow without end for a loss that goes to 0, when the
    total becomes negative. Stabilisation: s_i is held within +-``bound`` after every step.

    Args:
        n_teachers: T.
        initial: s_i at the start.
        bound: largest |s_i|.

    Raises:
        ValueError: when the start is out of bounds.
    """

    weights_sum = None

    def __init__(self, n_teachers: int, initial: float = 0.0, bound: float = 10.0) -> None:
        super().__init__(n_teachers)
        if not abs(initial) <= bound:
            raise ValueError(f"the log variance must start within +-{bound}, not at {initial}")
        self.bound = bound
        self.log_variance = nn.Parameter(torch.full((n_teachers,), float(initial)))

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        return Weighting(torch.exp(-self.log_variance) / 2, None, self.log_variance.sum() / 2)

    def observe(self, losses: torch.Tensor) -> None:
        self.log_variance.clamp_(-self.bound, self.bound)
