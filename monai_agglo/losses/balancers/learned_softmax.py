"""What the paper's two balancers share: weights that are the softmax of learned scores, as written and stabilised."""

from __future__ import annotations

import logging
import math

import torch

from .base import Balancer, BalancerContext, Weighting
from .floor import above_floor, checked_floor
from .running_mean import RunningMean

__all__ = ["FORMS", "LearnedSoftmax"]

logger = logging.getLogger(__name__)

FORMS = ("stabilised", "paper")
LARGEST_RELATIVE_LOSS = 10.0


class LearnedSoftmax(Balancer):
    r"""alpha = softmax(scores), with scores that are learned by minimising the very loss that alpha weighs.

    As written in the paper, L = sum_i alpha_i l_i, so dL/dscore_i = alpha_i (l_i - sum_j alpha_j l_j): descent raises
    the weight of every teacher whose loss is below the average, without end. The stationary points are one-hot, the
    stable one the teacher with the least loss, be it easy or merely of small scale; the others are no longer learnt.

    Stabilised: losses are divided by their detached running mean, m_i, so that scale does not matter; the weights have
    a floor; and an entropy bonus is subtracted that is annealed over the training:

        alpha = f / T + (1 - f) softmax(scores),    L = sum_i alpha_i l_i / m_i - lambda(t) H(alpha)

    whose minimum over alpha (without floor) is alpha_i proportional to exp(-(l_i / m_i) / lambda), never one-hot.
    Scores start at 0, so that training starts with equal weights. Since l_i / m_i says how fast a loss falls, and not
    how large it is, these weights follow progress: a teacher that gets more weight gets on faster, and for that more
    weight. With an entropy factor of 0.1 this ends at the floor on toy problems; hence the larger default.

    Args:
        n_teachers: T.
        form: ``stabilised`` or ``paper``; the latter logs a warning.
        entropy: lambda at the start; 0 for none.
        entropy_end: lambda at the end; linear between.
        floor: f, the least weight as a share of 1 / T, in [0, 1).
        decay: of the running mean of the losses, per step.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self,
        n_teachers: int,
        form: str = "stabilised",
        entropy: float = 1.0,
        entropy_end: float = 0.5,
        floor: float = 0.2,
        decay: float = 0.99,
    ) -> None:
        super().__init__(n_teachers)
        if form not in FORMS:
            raise ValueError(f"the form of {type(self).__name__} is one of {', '.join(FORMS)}, not {form!r}")
        if min(entropy, entropy_end) < 0 or not math.isfinite(entropy + entropy_end):
            raise ValueError(f"the factors of the entropy must be >= 0, not {entropy} and {entropy_end}")
        self.stabilised = form == "stabilised"
        self.entropy = entropy
        self.entropy_end = entropy_end
        self.floor = checked_floor(floor)
        self.running = RunningMean(n_teachers, decay) if self.stabilised else None
        if not self.stabilised:
            logger.warning(
                "%s in the paper's form gives all weight to the teacher with the least loss; watch its weights",
                type(self).__name__,
            )

    def scores(self, losses: torch.Tensor, context: BalancerContext) -> torch.Tensor:
        """Scores of the teachers.

        Args:
            losses: (T,) mean losses, with gradient in the paper's form; relative to their running mean and detached in
                the stabilised form.
            context: step and features.

        Returns:
            (T,) or (B, T).
        """
        raise NotImplementedError

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        if self.running is None:
            return Weighting(self.scores(mean, context).softmax(-1))
        reference = self.running.value(mean)
        # A spike must not throw the scores far off.
        relative = (mean.detach() / reference).clamp(max=LARGEST_RELATIVE_LOSS)
        alpha = self.scores(relative, context).softmax(-1)
        alpha = above_floor(alpha, self.floor)
        factor = self.entropy + (self.entropy_end - self.entropy) * context.progress
        entropy = torch.special.entr(alpha.clamp(min=1e-12)).sum(-1).mean()
        return Weighting(alpha / reference, alpha, -factor * entropy)

    def observe(self, losses: torch.Tensor) -> None:
        if self.running is not None:
            self.running.update(losses)
