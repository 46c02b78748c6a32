"""Teacher dropping, around any balancer."""

from __future__ import annotations

from typing import Any

import torch

from .base import Balancer, BalancerContext, Weighting
from .draws import Draws

__all__ = ["TeacherDropping"]

RANKS = ("loss", "weighted")


class TeacherDropping(Balancer):
    r"""Per image, the teacher with the largest loss is kept, every other is dropped with a probability.

    L = sum_bi c_bi w_bi l_bi / sum_bi c_bi w_bi times the mean of sum_i w_bi, with c in {0, 1} the coefficients and w
    the factors of the balancer within. With equal weights within this is UNIC's sum_bi c_bi l_bi / sum_bi c_bi.

    Source: UNIC (arXiv 2408.05088). A teacher that is learnt already does not crowd out the one that is not.

    Cost: losses only, B x T random numbers; dropped losses are computed all the same. Defect: with raw targets the
    largest loss is the one of largest scale, in every image: normalise the targets, put AdaLoss within, or let
    ``by="weighted"`` compare the losses as they are weighed. The draws are seeded and resumable and each process draws
    its own; in evaluation mode nothing is dropped.

    Args:
        n_teachers: T.
        inner: the balancer within, or its name in the registry.
        inner_options: its options, where a name is given.
        drop_probability: of every teacher but the one that is kept.
        by: ``loss`` compares raw losses, as published, ``weighted`` losses times the inner factors.
        seed: of the draws.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self,
        n_teachers: int,
        inner: Balancer | str = "equal",
        inner_options: dict[str, Any] | None = None,
        drop_probability: float = 0.5,
        by: str = "loss",
        seed: int = 0,
    ) -> None:
        super().__init__(n_teachers)
        if not 0 <= drop_probability <= 1:
            raise ValueError(f"the probability of dropping a teacher must be in [0, 1], not {drop_probability}")
        if by not in RANKS:
            raise ValueError(f"losses are compared by one of {', '.join(RANKS)}, not {by!r}")
        if isinstance(inner, str):
            from .registry import make_balancer  # which knows this class

            inner = make_balancer(inner, n_teachers, **(inner_options or {}))
        if inner.n_teachers != n_teachers:
            raise ValueError(f"the inner balancer is for {inner.n_teachers} teachers, not for {n_teachers}")
        self.inner = inner
        self.drop_probability = drop_probability
        self.by = by
        self.draws = Draws(seed, per_rank=True)
        self.needs_shared = inner.needs_shared
        self.needs_pooled = inner.needs_pooled
        self.needs_recomputed = inner.needs_recomputed
        self.weights_sum = inner.weights_sum

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        factors, alpha, penalty = self.inner.weigh(mean, losses, context)
        if not self.training:
            return Weighting(factors, alpha, penalty)
        compared = losses.detach() * (factors.detach() if self.by == "weighted" else 1)
        kept = self._kept(compared)
        return Weighting(_drop(factors, kept), None if alpha is None else _drop(alpha, kept), penalty)

    def observe(self, losses: torch.Tensor) -> None:
        self.inner.observe(losses)

    def _kept(self, losses: torch.Tensor) -> torch.Tensor:
        uniform = self.draws.next().random(tuple(losses.shape), dtype="float32")
        lucky = torch.from_numpy(uniform >= self.drop_probability).to(losses.device, non_blocking=True)
        return lucky.scatter(1, losses.argmax(1, keepdim=True), True).float()


def _drop(weights: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Weights (T,) or (B, T) without those that are not kept, scaled so that their sum over the batch stays."""
    weights = weights.expand(kept.shape)
    scale = weights.detach().sum() / (weights.detach() * kept).sum().clamp(min=1e-30)
    return weights * kept * scale
