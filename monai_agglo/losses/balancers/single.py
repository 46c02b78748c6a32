"""One teacher alone."""

from __future__ import annotations

import torch

from .base import Balancer, BalancerContext, Weighting

__all__ = ["SingleTeacher"]


class SingleTeacher(Balancer):
    r"""Simple distillation, the baseline of the paper: L = l_k.

    Source: arXiv 2504.02351 ("simple distillation"), and every decoupled encoder distillation since MobileSAM. Cost:
    none. With more teachers than one the others get weight 0: their heads get gradients that are exactly 0, so that
    distributed training finds all parameters used, but their losses are still computed; leave them out to save that.

    Args:
        n_teachers: T.
        teacher: k, 0 to T - 1.

    Raises:
        ValueError: when there is no such teacher.
    """

    alpha: torch.Tensor

    def __init__(self, n_teachers: int, teacher: int = 0) -> None:
        super().__init__(n_teachers)
        if teacher not in range(n_teachers):
            raise ValueError(f"there is no teacher {teacher!r} among {n_teachers}: name one of 0 to {n_teachers - 1}")
        alpha = torch.zeros(n_teachers)
        alpha[teacher] = 1
        self.register_buffer("alpha", alpha, persistent=False)  # it never changes

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        return Weighting(self.alpha)
