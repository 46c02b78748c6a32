"""The paper's balancer (B): a query asks one key per teacher; for the training as a whole, or for every image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .base import BalancerContext
from .learned_softmax import LearnedSoftmax

__all__ = ["AttentionBalancer", "ImageAttentionBalancer"]


class AttentionBalancer(LearnedSoftmax):
    r"""alpha = softmax(q . k_i / sqrt(d)) with a learnable query q and one learnable key k_i per teacher.

    Source: arXiv 2504.02351, section 3 (B), which found it better than the MLP. As q and k_i are plain parameters,
    alpha depends on no input: these are T learned logits, written as products.

    Cost: needs nothing, not even the losses in its forward pass. Defect: collapses on the easiest teacher. Stabilised:
    see :class:`LearnedSoftmax`; keys start at 0. In the paper's form they start near 0.

    Args:
        n_teachers: T.
        form: ``stabilised`` or ``paper``.
        dimension: d.
        **options: see :class:`LearnedSoftmax`.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(self, n_teachers: int, form: str = "stabilised", dimension: int = 32, **options: float) -> None:
        super().__init__(n_teachers, form, **options)
        _check_dimension(dimension)
        self.query = nn.Parameter(torch.randn(dimension))
        self.keys = nn.Parameter(torch.zeros(n_teachers, dimension))
        if not self.stabilised:
            nn.init.normal_(self.keys, std=0.02)

    def scores(self, losses: torch.Tensor, context: BalancerContext) -> torch.Tensor:
        return (self.keys * self.query).sum(1) * self.query.shape[0] ** -0.5


class ImageAttentionBalancer(LearnedSoftmax):
    r"""Weights of every image: q_b = W_q s_b + c and k_bi = W_i t_bi + c_i of the pooled features.

    s_b is the student's feature of image b averaged over the map, t_bi that of teacher i; alpha_bi is the softmax over
    teachers of q_b . k_bi / sqrt(d), and L the mean over images of sum_i alpha_bi l_bi. The reading of the paper's (B)
    in which the weights depend on the image, as gating networks do.

    Cost: needs pooled features of student and teachers (means of maps that are there anyway) and T + 1 products with
    small matrices. Defects: collapses like the static form, and faster, since it can choose the easiest teacher of
    each image; as written its gradient flows into the student's features, which learn to ask for easy teachers; and
    features of large scale saturate the softmax. Stabilised: see :class:`LearnedSoftmax`; pooled features are then
    detached and layer-normalised, and the keys' projections start at 0.

    Args:
        n_teachers: T.
        student_channels: C.
        teacher_channels: C_i of every teacher.
        form: ``stabilised`` or ``paper``.
        dimension: d.
        **options: see :class:`LearnedSoftmax`.

    Raises:
        ValueError: for options out of range.
    """

    needs_pooled = True

    def __init__(
        self,
        n_teachers: int,
        student_channels: int,
        teacher_channels: Sequence[int],
        form: str = "stabilised",
        dimension: int = 32,
        **options: float,
    ) -> None:
        super().__init__(n_teachers, form, **options)
        _check_dimension(dimension)
        if len(teacher_channels) != n_teachers:
            raise ValueError(f"teacher_channels must be {n_teachers} numbers, one per teacher, not {teacher_channels}")
        self.query = nn.Linear(student_channels, dimension)
        self.keys = nn.ModuleList(nn.Linear(channels, dimension) for channels in teacher_channels)
        if self.stabilised:
            for key in self.keys:
                nn.init.zeros_(key.weight)
                nn.init.zeros_(key.bias)

    def scores(self, losses: torch.Tensor, context: BalancerContext) -> torch.Tensor:
        assert context.student is not None and context.teachers is not None  # Balancer.forward has seen to it
        query = self.query(self._prepare(context.student))
        keys = torch.stack([key(self._prepare(pooled)) for key, pooled in zip(self.keys, context.teachers)], 1)
        return (keys * query[:, None]).sum(2) * query.shape[1] ** -0.5

    def _prepare(self, pooled: torch.Tensor) -> torch.Tensor:
        pooled = pooled.float()
        return F.layer_norm(pooled.detach(), pooled.shape[1:]) if self.stabilised else pooled


def _check_dimension(dimension: int) -> None:
    if dimension < 1:
        raise ValueError(f"query and keys need at least one dimension, not {dimension}")
