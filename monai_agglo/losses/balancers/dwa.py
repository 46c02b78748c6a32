"""Dynamic weight average."""

from __future__ import annotations

import torch

from .base import Balancer, BalancerContext, Weighting

__all__ = ["DWABalancer"]


class DWABalancer(Balancer):
    r"""alpha = softmax(r / temperature), r_i = L_i(t - 1) / L_i(t - 2), L_i(t) the mean loss over window t.

    Source: Liu, Johns and Davison, CVPR 2019, where a window is an epoch and the weights sum to T; here they sum to 1,
    as everywhere. Teachers that get on slowly get more. Equal weights during the first two windows.

    Cost: losses only, a few sums. Defects: scale-free in what it looks at, but the weights multiply raw losses, so it
    does not cure different scales; r is near 1 for all teachers most of the time, and so are the weights nearly equal;
    short windows make it noise. Stabilisation: means over a window, values that are not finite passed over.

    Args:
        n_teachers: T.
        window: steps of a window; those of an epoch for the published form.
        temperature: larger is more equal.

    Raises:
        ValueError: for options out of range.
    """

    sums: torch.Tensor
    seen: torch.Tensor
    steps: torch.Tensor
    windows: torch.Tensor
    last: torch.Tensor
    before: torch.Tensor

    def __init__(self, n_teachers: int, window: int = 100, temperature: float = 2.0) -> None:
        super().__init__(n_teachers)
        if window < 1 or not temperature > 0:
            raise ValueError(f"DWA needs window >= 1 and temperature > 0, not {window} and {temperature}")
        self.window = window
        self.temperature = temperature
        for name in ("sums", "seen"):
            self.register_buffer(name, torch.zeros(n_teachers))
        for name in ("last", "before"):
            self.register_buffer(name, torch.ones(n_teachers))
        for name in ("steps", "windows"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))

    def weigh(self, mean: torch.Tensor, losses: torch.Tensor, context: BalancerContext) -> Weighting:
        ratio = self.last / self.before.clamp(min=1e-8)
        alpha = (ratio / self.temperature).softmax(0)
        return Weighting(torch.where(self.windows >= 2, alpha, 1 / self.n_teachers))

    def observe(self, losses: torch.Tensor) -> None:
        # No Python "if" on a tensor: that would wait for the GPU in every step.
        fine = torch.isfinite(losses)
        self.sums += torch.where(fine, losses, 0.0)
        self.seen += fine
        self.steps += 1
        full = self.steps >= self.window
        mean = torch.where(self.seen > 0, self.sums / self.seen.clamp(min=1), self.last)
        self.before.copy_(torch.where(full, self.last, self.before))
        self.last.copy_(torch.where(full, mean, self.last))
        self.windows += full
        for counter in (self.sums, self.seen, self.steps):
            counter *= ~full
