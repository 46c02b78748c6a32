"""Smooth Tchebycheff scalarisation: upweights the worst-retained teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .base import Balancer, BalancerContext, Weighting
from .floor import above_floor, checked_floor
from .running_mean import RunningMean

__all__ = ["TchebycheffBalancer"]


class TchebycheffBalancer(Balancer):
    r"""Descent on a smooth maximum of how far the student still has to go to each teacher.

    Of teacher i's way, from the loss s_i of the first step to the loss z_i that a student of this teacher alone
    reaches, the share r_i = (l_i - z_i) / (s_i - z_i) is left, and 1 - r_i is what is retained. With the smooth maximum
    mu log sum_i exp(r_i / mu),

        alpha = f / T + (1 - f) softmax(m / mu),    L = sum_i alpha_i l_i / (s_i - z_i),

    m_i the running mean of r_i, detached, in place of a batch's own value, and f a floor. Training starts with equal
    weights (all r_i = 1) and upweights the worst-retained teacher, unlike the paper's balancers, which upweight the
    teacher with the lowest loss.

    Source: Lin et al., ICML 2024 (arXiv 2402.19078), with the ideal point z and the nadir point s; running mean and
    floor are ours. Scale-free. Cost: losses only, one running mean. Defects: z has to be known, from a distillation of
    each teacher alone, as long as this one; with z = 0 a teacher that nobody could reproduce takes the weight of all
    others. A small mu follows the worst teacher alone, and noise; a large one, on losses that move by a few percent, is
    no different from equal weights. Stabilisation: a floor; s_i - z_i is at least 1 % of s_i; steps that are not finite
    do not count.

    ``weights`` are alpha; ``factors`` multiply the losses.

    Args:
        n_teachers: T.
        ideal: z, T losses of students of one teacher each, in the order of the teachers; 0 when None.
        smoothness: mu, as a share of the way; larger is more equal.
        floor: f, the least weight as a share of 1 / T, in [0, 1).
        decay: of the running mean, per step.

    Raises:
        ValueError: for options out of range.
    """

    start: torch.Tensor
    known: torch.Tensor
    ideal: torch.Tensor

    def __init__(
        self,
        n_teachers: int,
        ideal: Sequence[float] | None = None,
        smoothness: float = 0.05,
        floor: float = 0.2,
        decay: float = 0.97,
    ) -> None:
        super().__init__(n_teachers)
        found = [0.0] * n_teachers if ideal is None else [float(loss) for loss in ideal]
        if len(found) != n_teachers or any(loss < 0 or not math.isfinite(loss) for loss in found):
            raise ValueError(f"ideal are {n_teachers} losses of at least 0, one per teacher, not {ideal}")
        if not smoothness > 0:
            raise ValueError(f"the smoothness must be above 0, not {smoothness}")
        self.smoothness = smoothness
        self.floor = checked_floor(floor)
        self.running = RunningMean(n_teachers, decay)
        self.register_buffer("ideal", torch.tensor(found))
        self.register_buffer("start", torch.ones(n_teachers))
        self.register_buffer("known", torch.zeros(n_teachers, dtype=torch.bool))

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        start = torch.where(self.known, self.start, mean.detach())
        way = torch.maximum(start - self.ideal, 0.01 * start).clamp(min=self.running.eps)
        left = (self.running.value(mean) - self.ideal) / way
        alpha = above_floor((left / self.smoothness).softmax(0), self.floor)
        return Weighting(alpha / way, alpha)

    def observe(self, losses: torch.Tensor) -> None:
        first = ~self.known & torch.isfinite(losses)
        self.start.copy_(torch.where(first, losses, self.start))
        self.known |= first
        self.running.update(losses)
