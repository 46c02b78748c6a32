"""The paper's balancer (A): an MLP makes weights of the losses."""

from __future__ import annotations

import torch
from torch import nn

from .base import BalancerContext
from .learned_softmax import LearnedSoftmax

__all__ = ["MLPBalancer"]


class MLPBalancer(LearnedSoftmax):
    r"""alpha = softmax(W2 g(W1 L + b1) + b2), L the vector of the T losses.

    Source: arXiv 2504.02351, section 3 (A). There W2 is printed as a row, which would give one score and a softmax of
    1; here it is (T, h). g, called sigma there and not named, is GELU here.

    Cost: losses only, two products with matrices of h x T. Defects: collapses on the easiest teacher; L has the
    losses' scale, thousands for raw features, which saturates the softmax; and as written the gradient flows through
    alpha into the student, who is paid for making L such that the weights move away from hard teachers. Stabilised:
    see :class:`LearnedSoftmax`; L is then detached and relative, near 1, and W2 starts at 0.

    Args:
        n_teachers: T.
        form: ``stabilised`` or ``paper``.
        hidden: h.
        **options: see :class:`LearnedSoftmax`.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(self, n_teachers: int, form: str = "stabilised", hidden: int = 16, **options: float) -> None:
        super().__init__(n_teachers, form, **options)
        if hidden < 1:
            raise ValueError(f"the balancer's MLP needs at least one hidden unit, not {hidden}")
        self.first = nn.Linear(n_teachers, hidden)
        self.second = nn.Linear(hidden, n_teachers)
        self.activation = nn.GELU()
        if self.stabilised:
            nn.init.zeros_(self.second.weight)
            nn.init.zeros_(self.second.bias)

    def scores(self, losses: torch.Tensor, context: BalancerContext) -> torch.Tensor:
        return self.second(self.activation(self.first(losses)))
