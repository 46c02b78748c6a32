"""A small problem on which balancers show their character: three teachers of different difficulty and scale."""

import torch
from torch import nn

from monai_agglo.losses.balancers import BalancerContext, make_balancer

SCALES = (0.3, 1.0, 2.0)
RANKS = (2, 8, 8)
WIDTH, BOTTLENECK = 16, 12


class Toy:
    """Teacher i is a linear map of rank RANKS[i] onto 12 channels, times SCALES[i], and noise.

    The first is the easiest. The student is a linear map to a bottleneck that is too narrow for all, and one linear
    head per teacher.
    """

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=self.generator)  # noqa: E731
        self.maps = [draw(WIDTH, rank) @ draw(rank, 12) / (WIDTH * rank) ** 0.5 for rank in RANKS]
        self.encoder = nn.Linear(WIDTH, BOTTLENECK)
        self.heads = nn.ModuleList(nn.Linear(BOTTLENECK, 12) for _ in RANKS)
        for layer in (self.encoder, *self.heads):
            layer.weight.data = draw(*layer.weight.shape) * 0.1
            nn.init.zeros_(layer.bias)

    def batch(self, size):
        x = torch.randn(size, WIDTH, generator=self.generator)
        noise = [0.05 * torch.randn(size, 12, generator=self.generator) for _ in RANKS]
        return x, [scale * (x @ m + n) for scale, m, n in zip(SCALES, self.maps, noise)]

    def forward(self, x, targets):
        shared = self.encoder(x)[:, :, None, None]
        features = shared.flatten(1)
        losses = torch.stack([(head(features) - t).square().mean(1) for head, t in zip(self.heads, targets)], 1)
        return losses, shared, targets

    def r2(self):
        """Share of each teacher's variance that the student reproduces."""
        with torch.no_grad():
            x, targets = self.batch(2000)
            losses = self.forward(x, targets)[0].mean(0)
        return [1 - float(loss / t.var(0).mean()) for loss, t in zip(losses, targets)]


def train(name, steps=500, seed=0, **options):
    """Distil the toy's teachers.

    Returns:
        R2 of each teacher, the mean weights of the last 50 steps.
    """
    torch.manual_seed(seed)
    toy = Toy(seed)
    balancer = make_balancer(name, len(RANKS), **options)
    parameters = [*toy.encoder.parameters(), *toy.heads.parameters(), *balancer.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    weights = []
    for step in range(steps):
        losses, shared, targets = toy.forward(*toy.batch(64))
        pooled = shared.mean((2, 3))
        balance = balancer(losses, BalancerContext(step, steps, shared, pooled, targets))
        optimiser.zero_grad()
        balance.total.backward()
        optimiser.step()
        balancer.after_step(losses.detach().mean(0))
        weights.append(balance.weights)
    return toy.r2(), torch.stack(weights[-50:]).mean(0)
