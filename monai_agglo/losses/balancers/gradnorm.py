"""Gradient normalisation on the shared feature."""

from __future__ import annotations

import torch
from torch import nn

from .base import Balancer, BalancerContext, Weighting
from .ranks import average_over_ranks, world_size

__all__ = ["GradNormBalancer"]


class GradNormBalancer(Balancer):
    r"""Weights that equalise the teachers' gradient norms on the shared feature, with more for lagging teachers.

    With alpha = softmax(a) and G_i = alpha_i |d l_i / d e|, e the student's fused map, the penalty that trains a (and a
    alone) is sum_i |G_i / G - r_i^p|, where G = mean_j G_j and r_i^p are constants and r_i is the share of its first
    value that l_i still has, divided by the mean share. Published: sum_i |G_i - G r_i^p|, the same up to the constant
    factor 1 / G, without which the penalty's gradient has the scale of the feature's.

    Source: Chen et al., ICML 2018, there on the last shared layer's weights; on the shared feature ("rep-grad", as
    LibMTL has it) it costs one backward pass of each *head*, never of the encoder. The weights sum to 1.

    Cost: needs the shared map; T backward passes of one head each every ``every`` steps. Defects: the first losses are
    remembered for good (a lucky first batch), and a loss that hardly falls gets ever more weight, be it because it
    cannot fall. Stabilisation: the first value is the mean of ``warmup`` steps, during which the weights stay equal;
    ``every`` > 1 measures the gradients now and then and keeps them in between.

    Args:
        n_teachers: T.
        power: p.
        every: measure the gradients each so many steps.
        warmup: steps whose mean is the first value of the losses.

    Raises:
        ValueError: for options out of range.
    """

    needs_shared = True
    first: torch.Tensor
    steps: torch.Tensor
    norms: torch.Tensor

    def __init__(self, n_teachers: int, power: float = 1.5, every: int = 1, warmup: int = 10) -> None:
        super().__init__(n_teachers)
        if power < 0 or every < 1 or warmup < 1:
            raise ValueError(
                f"GradNorm needs power >= 0, every >= 1 and warmup >= 1, not {power}, {every} and {warmup}"
            )
        self.power = power
        self.every = every
        self.warmup = warmup
        self.logits = nn.Parameter(torch.zeros(n_teachers))
        self.register_buffer("first", torch.zeros(n_teachers))
        self.register_buffer("steps", torch.zeros(n_teachers))
        self.register_buffer("norms", torch.ones(n_teachers))

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        alpha = self.logits.softmax(0)
        if not self.training:
            return Weighting(alpha.detach())
        assert context.shared is not None  # Balancer.forward has seen to it
        if context.step % self.every == 0:
            # The norm over the images of all processes, as if they were one batch.
            squares = average_over_ranks(self._gradient_norms(losses, context.shared).square())
            self.norms.copy_((squares / world_size()).sqrt())
        pull = alpha * self.norms.clone()  # the next measure must not change what backward needs
        share = mean.detach() / self.first.clamp(min=1e-8)
        wanted = (share / share.mean().clamp(min=1e-8)) ** self.power
        penalty = (pull / pull.mean().detach().clamp(min=1e-12) - wanted).abs().sum()
        warm = (self.steps >= self.warmup).all()
        return Weighting(alpha.detach(), None, torch.where(warm, penalty, 0.0 * penalty))

    def observe(self, losses: torch.Tensor) -> None:
        counts = torch.isfinite(losses) & (self.steps < self.warmup)
        self.steps += counts
        self.first.lerp_(torch.where(counts, losses, 0.0), counts / self.steps.clamp(min=1))

    def _gradient_norms(self, losses: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        found = []
        for loss in losses.mean(0).unbind():
            if not loss.requires_grad or not shared.requires_grad:
                raise ValueError("GradNorm needs losses with gradient, made from a shared feature map with gradient")
            found += torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        if all(gradient is None for gradient in found):
            raise ValueError(
                "none of the losses was made from BalancerContext.shared: give the very map that they read"
            )
        norms = [losses.new_zeros(()) if gradient is None else gradient.float().norm() for gradient in found]
        return torch.stack(norms).detach()
