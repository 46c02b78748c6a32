"""Every loss divided by its own running mean."""

from __future__ import annotations

import torch

from .base import Balancer, BalancerContext, Weighting
from .running_mean import RunningMean

__all__ = ["AdaLossBalancer"]


class AdaLossBalancer(Balancer):
    r"""L = sum_i l_i / (T sg(m_i)), m_i the running mean of l_i over past steps; sg stops the gradient.

    Source: AdaLoss (Hu et al., AAAI 2019, weights inverse to the running mean of the losses), for teachers in AM-RADIO
    (arXiv 2312.06709). Scale-free without any learned weight: each teacher contributes about 1 / T to the total.

    Cost: losses only, one running mean. Defects: the total stays near 1 however well training goes (watch the losses);
    a teacher whose loss goes to 0 gets an ever larger factor, which blows up noise that cannot be learnt.
    Stabilisation: the mean is exact from the first step on, never below 1e-8, and passes over values that are not
    finite.

    ``weights`` are 1 / T each; what the losses are multiplied with is in ``factors``.

    Args:
        n_teachers: T.
        decay: weight of the past per step.
    """

    alpha: torch.Tensor

    def __init__(self, n_teachers: int, decay: float = 0.99) -> None:
        super().__init__(n_teachers)
        self.running = RunningMean(n_teachers, decay)
        self.register_buffer("alpha", torch.full((n_teachers,), 1 / n_teachers), persistent=False)

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        return Weighting(self.alpha / self.running.value(mean), self.alpha)

    def observe(self, losses: torch.Tensor) -> None:
        self.running.update(losses)
