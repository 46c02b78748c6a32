"""All balancers, and batches for them."""

import torch

from monai_agglo.losses.balancers import BALANCERS, BalancerContext, make_balancer

T, CHANNELS, TEACHER_CHANNELS = 3, 5, (4, 6, 3)
IMAGE = {"student_channels": CHANNELS, "teacher_channels": TEACHER_CHANNELS}
CASES = {
    "single": ("single", {"teacher": 1}),
    "equal": ("equal", {}),
    "fixed": ("fixed", {"weights": [1.0, 2.0, 0.5]}),
    "mlp": ("mlp", {}),
    "mlp, paper": ("mlp", {"form": "paper"}),
    "attention": ("attention", {}),
    "attention, paper": ("attention", {"form": "paper"}),
    "image_attention": ("image_attention", IMAGE),
    "image_attention, paper": ("image_attention", {"form": "paper", **IMAGE}),
    "adaloss": ("adaloss", {}),
    "uncertainty": ("uncertainty", {}),
    "dwa": ("dwa", {"window": 2}),
    "random": ("random", {"seed": 3}),
    "famo": ("famo", {}),
    "famo, recomputed": ("famo", {"recomputed": True}),
    "famo, rescaled": ("famo", {"rescale": True}),
    "tchebycheff": ("tchebycheff", {}),
    "tchebycheff, ideal": ("tchebycheff", {"ideal": [0.5, 1.0, 1.5]}),
    "gradnorm": ("gradnorm", {"warmup": 2}),
    "gradnorm, seldom": ("gradnorm", {"warmup": 2, "every": 3}),
    "dropping": ("dropping", {"seed": 1}),
    "dropping, mlp": ("dropping", {"inner": "mlp", "by": "weighted"}),
    "dropping, images": ("dropping", {"inner": "image_attention", "inner_options": IMAGE}),
    "dropping, gradnorm": ("dropping", {"inner": "gradnorm", "inner_options": {"warmup": 2}}),
}
assert {name for name, _ in CASES.values()} == BALANCERS.keys()


def make(case, seed=0):
    name, options = CASES[case]
    torch.manual_seed(seed)
    return make_balancer(name, T, **options)


def batch(values, step=0, total_steps=100, seed=0):
    """Losses of the given values that depend on a shared map, all cells of it alike.

    Args:
        values: (B, T).
        step: of the context.
        total_steps: of the context.
        seed: of the features.

    Returns:
        Losses (B, T) with gradient, context.
    """
    values = torch.as_tensor(values, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    images = values.shape[0]
    shared = torch.ones(images, CHANNELS, 2, 2, requires_grad=True)
    losses = values * shared.mean((1, 2, 3))[:, None]
    student = torch.randn(images, CHANNELS, generator=generator) * shared.mean((2, 3))
    teachers = [torch.randn(images, channels, generator=generator) for channels in TEACHER_CHANNELS]
    return losses, BalancerContext(step, total_steps, shared, student, teachers[: values.shape[1]])


def run(balancer, steps, start=0, seed=0, lr=0.05):
    """Train a balancer on made-up losses.

    Returns:
        Weights of every step (steps, T).
    """
    parameters = list(balancer.parameters())
    optimiser = torch.optim.SGD(parameters, lr=lr) if parameters else None
    found = []
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(1000 * seed + step)
        values = torch.rand(4, balancer.n_teachers, generator=generator) + torch.arange(1.0, balancer.n_teachers + 1)
        losses, context = batch(values, step, seed=step)
        balance = balancer(losses, context)
        if optimiser:
            optimiser.zero_grad()
            balance.total.backward()
            optimiser.step()
        balancer.after_step(losses.detach().mean(0))
        found.append(balance.weights)
    return torch.stack(found)
