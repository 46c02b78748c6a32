"""Fast adaptive multitask optimisation."""

from __future__ import annotations

import torch

from .base import Balancer, BalancerContext, Weighting

__all__ = ["FAMOBalancer"]


class FAMOBalancer(Balancer):
    r"""Weights under which all losses fall at the same rate, as shares of themselves.

    With alpha = softmax(xi), the loss is sum_i alpha_i log(l_i): its gradient is that of sum_i alpha_i l_i / sg(l_i),
    which is what is computed here (same gradient; the value reads as 1). After the step, with
    d_i = log l_i(before) - log l_i(after), xi goes down the gradient of sum_i alpha_i d_i: a teacher that got on faster
    than the others loses weight. xi has an Adam of its own, as published.

    Source: Liu et al., NeurIPS 2023 (arXiv 2306.03792). Scale-free. Published, the loss is also divided by
    c = sum_i alpha_i / l_i, so that the factors sum to 1: ``rescale=True``. c grows as losses fall, so that gradients
    shrink by the same factor over the training, which an optimiser of Adam's kind takes long to forget: on a toy
    problem teachers that need many steps are left behind (R2 0.49 instead of 0.92). It is therefore off by default.

    Cost: losses only. Published, d comes from a second forward pass of the same batch after the step, which costs a
    third of a step or more: ``recomputed=True``, and the trainer must give those losses to ``after_step``. By default
    d is taken between one step's losses and the next's, at no cost and with the noise between batches in it (of mean
    0). Defects: a loss that has reached its floor no longer falls, and gains weight for that; noisy losses make xi
    wander. Stabilisation: xi decays to 0; 1e-8 is added to the losses; steps that are not finite do not count.

    ``weights`` are alpha; what the losses are multiplied with is in ``factors``.

    Args:
        n_teachers: T.
        lr: learning rate of xi.
        decay: L2 penalty of xi.
        rescale: see above.
        recomputed: see above.

    Raises:
        ValueError: for options out of range.
    """

    xi: torch.Tensor
    previous: torch.Tensor
    known: torch.Tensor
    first_moment: torch.Tensor
    second_moment: torch.Tensor
    updates: torch.Tensor

    betas = (0.9, 0.999)
    eps = 1e-8

    def __init__(
        self, n_teachers: int, lr: float = 0.025, decay: float = 1e-3, rescale: bool = False, recomputed: bool = False
    ) -> None:
        super().__init__(n_teachers)
        if not lr > 0 or decay < 0:
            raise ValueError(f"FAMO needs lr > 0 and decay >= 0, not {lr} and {decay}")
        self.lr = lr
        self.decay = decay
        self.rescale = rescale
        self.needs_recomputed = recomputed
        for name in ("xi", "previous", "first_moment", "second_moment"):
            self.register_buffer(name, torch.zeros(n_teachers))
        self.register_buffer("known", torch.tensor(False))
        self.register_buffer("updates", torch.zeros(()))

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        mean = mean.detach()
        if self.needs_recomputed and self.training:
            self._remember(mean)
        alpha = self.xi.softmax(0)
        factors = alpha / (mean + self.eps)
        return Weighting(factors / factors.sum() if self.rescale else factors, alpha)

    def observe(self, losses: torch.Tensor) -> None:
        fallen = torch.log(self.previous + self.eps) - torch.log(losses + self.eps)
        usable = torch.isfinite(fallen).all() & self.known
        self._adam(torch.where(usable, fallen, 0.0), usable)
        if not self.needs_recomputed:
            self._remember(losses)

    def _remember(self, losses: torch.Tensor) -> None:
        self.previous.copy_(losses)
        self.known.fill_(True)

    def _adam(self, fallen: torch.Tensor, usable: torch.Tensor) -> None:
        """One step of Adam on xi, written out so that its state is in buffers and nothing waits for the GPU."""
        z = self.xi.softmax(0)
        gradient = z * (fallen - (z * fallen).sum()) + self.decay * self.xi
        self.updates += usable
        self.first_moment.lerp_(gradient, (1 - self.betas[0]) * usable)
        self.second_moment.lerp_(gradient.square(), (1 - self.betas[1]) * usable)
        first = self.first_moment / (1 - self.betas[0] ** self.updates).clamp(min=self.eps)
        second = self.second_moment / (1 - self.betas[1] ** self.updates).clamp(min=self.eps)
        self.xi -= self.lr * usable * first / (second.sqrt() + self.eps)
