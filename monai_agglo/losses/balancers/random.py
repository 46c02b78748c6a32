"""Random weights."""

from __future__ import annotations

import torch

from .base import Balancer, BalancerContext, Weighting
from .draws import Draws

__all__ = ["RandomWeights"]


class RandomWeights(Balancer):
    r"""alpha = softmax(z), z standard normal, drawn anew for every batch.

    Source: random loss weighting, Lin et al., TMLR 2022. Of equal weights in the mean, so what it does beyond them is
    noise; a learned balancer that does no better than this has learned nothing.

    Cost: T random numbers. Defect: as equal weights, plus noise. Seeded and resumable: the draw depends on the seed and
    on its number, which is saved; all processes draw the same. Equal weights in evaluation mode.

    Args:
        n_teachers: T.
        seed: of the sequence.
    """

    def __init__(self, n_teachers: int, seed: int = 0) -> None:
        super().__init__(n_teachers)
        self.draws = Draws(seed)

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        if not self.training:
            return Weighting(torch.full_like(mean.detach(), 1 / self.n_teachers))
        normal = torch.from_numpy(self.draws.next().standard_normal(self.n_teachers, dtype="float32"))
        return Weighting(normal.softmax(0).to(losses.device, non_blocking=True))
