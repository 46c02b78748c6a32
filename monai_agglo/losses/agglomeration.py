"""The loss of the recipe: a feature loss per teacher, weighted by a balancer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from .balancers import Balancer, BalancerContext, make_balancer
from .feature import FeatureLoss
from .targets import TargetNormalizer

__all__ = ["AgglomerationLoss", "AgglomerationResult", "TargetSpace", "check_teacher_set"]


class TargetSpace(nn.Module):
    """Normalised target spaces, one per teacher, shared by all students of a run.

    Args:
        kind: of :class:`TargetNormalizer`: ``identity``, ``standardise`` or ``phi_s``; ``running`` is ``standardise``
            with running statistics of the training batches.
        statistics: count, mean and covariance of each teacher's stored features, by name; or their number of channels,
            for a space whose statistics come with a ``state_dict``.

    Raises:
        ValueError: for an unknown kind.
    """

    def __init__(self, kind: str, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind = kind
        self.normalizers = nn.ModuleDict({name: _normalizer(kind, found) for name, found in statistics.items()})

    @torch.no_grad()
    def forward(
        self, features: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor] | None = None
    ) -> dict[str, torch.Tensor]:
        """Normalise.

        Args:
            features: by teacher, (B, k, h, w), the stored view.
            masks: by teacher, (B, h, w); cells below one half are ignored.

        Returns:
            The same shapes, normalised.
        """
        masks = masks or {}
        return {name: self.normalizers[name](value, masks.get(name)) for name, value in features.items()}

    def inverse(self, features: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Back to the stored view; see :meth:`forward`."""
        return {name: self.normalizers[name].inverse(value) for name, value in features.items()}


def _normalizer(kind: str, found: Any) -> TargetNormalizer:
    channels = found if isinstance(found, int) else len(found.mean)
    if kind == "running":
        return TargetNormalizer("standardise", channels, running=True)
    return TargetNormalizer(kind, channels) if found is channels else TargetNormalizer.from_statistics(kind, found)


class AgglomerationResult(NamedTuple):
    """Loss of one batch.

    Attributes:
        total: scalar, with gradient.
        losses: (T,) mean over the batch of each teacher's loss, detached.
        weights: (T,) alpha, detached.
        gradient_norms: (T,) norm of each teacher's own gradient on the fused map, or None if not requested.
    """

    total: torch.Tensor
    losses: torch.Tensor
    weights: torch.Tensor
    gradient_norms: torch.Tensor | None


class AgglomerationLoss(nn.Module):
    """L = sum over teachers of alpha_i l_i, with l_i per token in float32 and alpha from a balancer.

    Args:
        teachers: names, in the order of ``losses`` and ``weights``.
        feature_loss: a :class:`FeatureLoss`; the default one if None.
        balancer: a balancer, or the name of one in the registry.
        balancer_options: options of a balancer given by name.

    Raises:
        ValueError: for an unknown balancer, the same teacher twice, or a single teacher with a balancer for several.
    """

    def __init__(
        self,
        teachers: Sequence[str],
        feature_loss: FeatureLoss | None = None,
        balancer: Balancer | str = "equal",
        balancer_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.teachers = tuple(teachers)
        check_teacher_set(self.teachers, balancer if isinstance(balancer, str) else None)
        self.feature_loss = feature_loss or FeatureLoss()
        if isinstance(balancer, str):
            balancer = make_balancer(balancer, len(self.teachers), **dict(balancer_options or {}))
        self.balancer = balancer

    def forward(
        self,
        predictions: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        masks: Mapping[str, torch.Tensor],
        shared: torch.Tensor,
        step: int = 0,
        total_steps: int = 1,
        gradient_norms: bool = False,
    ) -> AgglomerationResult:
        """Compute the weighted loss.

        Args:
            predictions: by teacher, (B, k, h, w).
            targets: by teacher, (B, k, h, w), normalised.
            masks: by teacher, (B, h, w) in [0, 1]; tokens below one half are ignored.
            shared: the fused map (B, C, h, w), source of the predictions.
            step: optimiser steps so far.
            total_steps: steps of the whole training.
            gradient_norms: also measure each teacher's gradient on the fused map; costs a backward pass of each head.

        Returns:
            Total, losses, weights and, if requested, gradient norms.
        """
        with torch.autocast(shared.device.type, enabled=False):
            losses = self.teacher_losses(predictions, targets, masks)
            norms = None
            if gradient_norms and shared.requires_grad:
                norms = torch.stack([_gradient_norm(losses[:, i].mean(), shared) for i in range(len(self.teachers))])
        return self.balanced(losses, targets, masks, shared, step, total_steps)._replace(gradient_norms=norms)

    def balanced(
        self,
        losses: torch.Tensor,
        targets: Mapping[str, torch.Tensor],
        masks: Mapping[str, torch.Tensor],
        shared: torch.Tensor,
        step: int = 0,
        total_steps: int = 1,
    ) -> AgglomerationResult:
        """Weight given losses; see :meth:`forward`.

        Args:
            losses: (B, T), from :meth:`teacher_losses`.
            targets: as there.
            masks: as there.
            shared: as there.
            step: as there.
            total_steps: as there.

        Returns:
            Total, losses and weights.
        """
        with torch.autocast(shared.device.type, enabled=False):
            context = self._context(shared, targets, masks, step, total_steps)
            balance = self.balancer(losses, context)
        return AgglomerationResult(balance.total, losses.detach().mean(0), balance.weights.detach(), None)

    def teacher_losses(
        self,
        predictions: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        masks: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Feature losses alone, in float32; see :meth:`forward`.

        Returns:
            (B, T).
        """
        with torch.autocast(next(iter(predictions.values())).device.type, enabled=False):
            pairs = [(predictions[t], targets[t], masks[t]) for t in self.teachers]
            return torch.stack([self.feature_loss(*pair) for pair in pairs], 1)

    def after_step(self, losses: torch.Tensor) -> None:
        """Notify the balancer of an optimiser step.

        Args:
            losses: (T,), of that step.
        """
        self.balancer.after_step(losses)

    def _context(
        self,
        shared: torch.Tensor,
        targets: Mapping[str, torch.Tensor],
        masks: Mapping[str, torch.Tensor],
        step: int,
        total_steps: int,
    ) -> BalancerContext:
        student = teachers = None
        if self.balancer.needs_pooled:
            student = shared.float().mean((2, 3))
            teachers = [_pooled(targets[t].float(), masks[t]) for t in self.teachers]
        return BalancerContext(
            step=step,
            total_steps=total_steps,
            shared=shared if self.balancer.needs_shared else None,
            student=student,
            teachers=teachers,
        )


def check_teacher_set(teachers: Sequence[str], balancer: str | None = None) -> None:
    """Check that a set of teachers can be agglomerated.

    Args:
        teachers: names.
        balancer: name of the balancer, if known.

    Raises:
        ValueError: if not.
    """
    twice = sorted({name for name in teachers if list(teachers).count(name) > 1})
    if twice:
        raise ValueError(f"teacher {twice[0]} is given twice: name every teacher once")
    if not teachers:
        raise ValueError("there is no teacher: name at least two")
    if len(teachers) == 1 and balancer != "single":
        raise ValueError(
            f"agglomeration needs at least two teachers, and {teachers[0]} is the only one: add another, or ask for "
            "simple distillation with balancer single"
        )


def _gradient_norm(loss: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    (gradient,) = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
    return loss.new_zeros(()) if gradient is None else gradient.float().norm()


def _pooled(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, k): mean over the valid tokens."""
    inside = (mask >= 0.5).to(features)[:, None]
    return (features * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
