"""What every balancer is: it turns the losses of T teachers into one loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from .ranks import average_over_ranks, world_size

__all__ = ["Balance", "Balancer", "BalancerContext", "Weighting"]


@dataclass(frozen=True)
class BalancerContext:
    """What a balancer may look at besides the losses.

    Args:
        step: optimiser steps so far.
        total_steps: optimiser steps of the whole training.
        shared: the student's fused map (B, C, h, w) from which all losses come, part of their graph; read by
            balancers with ``needs_shared``.
        student: (B, C) student features averaged over the map; read by balancers with ``needs_pooled``.
        teachers: T tensors (B, C_i), the teachers' features averaged over their maps; likewise.
    """

    step: int = 0
    total_steps: int = 1
    shared: torch.Tensor | None = None
    student: torch.Tensor | None = None
    teachers: Sequence[torch.Tensor] | None = None

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1."""
        return min(1.0, max(0.0, self.step / max(1, self.total_steps)))


class Weighting(NamedTuple):
    """What a balancer decides.

    Attributes:
        factors: (T,) or (B, T), what each loss is multiplied with; may carry a gradient to the balancer's parameters.
        alpha: the weights before they are divided by a loss's running mean, same shape; ``factors`` when None.
        penalty: scalar to be added, or None.
    """

    factors: torch.Tensor
    alpha: torch.Tensor | None = None
    penalty: torch.Tensor | None = None


class Balance(NamedTuple):
    """What a balancer gives.

    Attributes:
        total: scalar float32 with gradient, sum over teachers of factor times mean loss, plus the balancer's penalty.
        weights: (T,) alpha for the log, mean over the batch, detached. They sum to ``Balancer.weights_sum``.
        factors: (T,) what the losses were multiplied with, mean over the batch, detached: alpha, divided by the loss's
            running mean where the balancer normalises.
    """

    total: torch.Tensor
    weights: torch.Tensor
    factors: torch.Tensor


class Balancer(nn.Module):
    """Base of the balancers. Subclasses return the factor of each loss from :meth:`weigh`.

    Parameters of a balancer are trained by the optimiser that trains the student, through the gradient of ``total``;
    give them no weight decay. Everything that changes while training is in ``state_dict``. Evaluation mode is
    deterministic and without updates. Calculations are in float32, also under autocast.

    With several processes the mean losses are averaged over them, so that all processes have the same weights and, for
    balancers that look at losses only, the same gradients on their parameters. :meth:`sync_gradients` does the rest.

    Args:
        n_teachers: T, at least 1.

    Attributes:
        needs_shared: the context must have the fused map in the graph of the losses.
        needs_pooled: the context must have the pooled features.
        needs_recomputed: :meth:`after_step` wants the losses of the same batch, computed again after the step.
        weights_sum: what ``Balance.weights`` sum to, None where they are free.

    Raises:
        ValueError: for another number of teachers.
    """

    needs_shared: bool = False
    needs_pooled: bool = False
    needs_recomputed: bool = False
    weights_sum: float | None = 1.0

    def __init__(self, n_teachers: int) -> None:
        super().__init__()
        if isinstance(n_teachers, bool) or not isinstance(n_teachers, int) or n_teachers < 1:
            raise ValueError(f"a balancer needs a number of teachers of at least 1, not {n_teachers!r}")
        self.n_teachers = n_teachers

    def forward(self, losses: torch.Tensor, context: BalancerContext | None = None) -> Balance:
        """Make one loss of many.

        Args:
            losses: (B, T), loss of every image and teacher, >= 0, with gradient.
            context: step and features; only balancers that need nothing of it do without.

        Returns:
            The total and the weights.

        Raises:
            ValueError: when the losses have another shape, or the context lacks what the balancer needs.
        """
        context = context or BalancerContext()
        self._check(losses, context)
        with torch.autocast(losses.device.type, enabled=False):
            losses = losses.float()
            local = losses.mean(0)
            mean = local
            if self.training and world_size() > 1:
                # The value of all processes, the gradient of this one: averaged over processes it is that of the mean.
                mean = local + (average_over_ranks(local.detach()) - local.detach())
            factors, alpha, penalty = self.weigh(mean, losses, context)
            total = (factors * mean).sum() if factors.ndim == 1 else (factors * losses).sum(1).mean()
            if penalty is not None:
                total = total + penalty
            factors = factors.detach()
            alpha = factors if alpha is None else alpha.detach()
        return Balance(total, *(w if w.ndim == 1 else w.mean(0) for w in (alpha, factors)))

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        """Decide what each loss counts.

        Args:
            mean: (T,) mean losses, over the batch and all processes, with gradient.
            losses: (B, T), with gradient.
            context: step and features.

        Returns:
            Factors, alpha, penalty.
        """
        raise NotImplementedError

    @torch.no_grad()
    def after_step(self, losses: torch.Tensor) -> None:
        """Learn from a step; to be called after ``optimizer.step()``, once per step however many batches it had.

        Args:
            losses: (T,) detached mean losses of the step, as they were before it; after it and on the same batch for
                balancers with ``needs_recomputed``.
        """
        if tuple(losses.shape) != (self.n_teachers,):
            raise ValueError(f"after_step of {type(self).__name__} takes {self.n_teachers} losses, not {losses.shape}")
        self.observe(average_over_ranks(losses.detach().float()))

    def observe(self, losses: torch.Tensor) -> None:
        """Update statistics; nothing by default.

        Args:
            losses: (T,) float32, averaged over processes.
        """

    @torch.no_grad()
    def sync_gradients(self) -> None:
        """Average the gradients of this balancer's parameters over processes; to be called before ``optimizer.step()``.

        Nothing to do with one process, or where the balancer is wrapped with the student.
        """
        if world_size() > 1:
            for parameter in self.parameters():
                # Also where this process has no gradient: all must take part.
                mean = average_over_ranks(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
                parameter.grad = mean

    def _check(self, losses: torch.Tensor, context: BalancerContext) -> None:
        name = type(self).__name__
        if losses.ndim != 2 or losses.shape[1] != self.n_teachers or not losses.shape[0]:
            raise ValueError(f"{name} takes losses (images, {self.n_teachers} teachers), not {tuple(losses.shape)}")
        if self.needs_shared and context.shared is None:
            raise ValueError(f"{name} needs the student's shared feature map: give it as BalancerContext.shared")
        if self.needs_pooled:
            if context.student is None or context.teachers is None:
                raise ValueError(f"{name} needs pooled features: give BalancerContext.student and .teachers")
            if len(context.teachers) != self.n_teachers:
                raise ValueError(f"{name} needs pooled features of {self.n_teachers} teachers: {len(context.teachers)}")
