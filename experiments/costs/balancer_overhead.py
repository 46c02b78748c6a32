#!/usr/bin/env python3
"""What balancers cost: their time as a share of a real training step of a student.

    python -m experiments.costs.balancer_overhead [--device cpu] [--repeats N] [--output docs/results/balancers.json]

A step is that of distillation: student, a projector per teacher, feature losses, backward pass, optimiser; the targets
are random numbers of the teachers' stored shapes. Of every step the balancer's part is timed by itself: its forward
pass, its backward pass down to the losses, after_step, and the optimiser's step over its own parameters. All balancers
take turns in every repeat, in random order, so that whatever else the computer does hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
from pathlib import Path
from typing import Any

import torch

from experiments.benchmark.clock import device_title, now
from monai_agglo.data.feature_cache.view import FeatureView
from monai_agglo.files import write_json
from monai_agglo.losses.balancers import Balancer, BalancerContext, make_balancer
from monai_agglo.losses.feature import FeatureLoss
from monai_agglo.networks.student import StudentEncoder
from monai_agglo.networks.student_heads import StudentWithHeads
from monai_agglo.networks.teachers import teacher_class

TEACHERS = ("litemedsam", "mobilesam", "dinov2_small", "mobilenet_v3")
TARGET = 0.02
WARM_UP = 2


def cases(student: int, teachers: list[int]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Balancers that are measured: label, name in the registry, options."""
    pooled: dict[str, Any] = {"student_channels": student, "teacher_channels": teachers}
    plain = ("single", "equal", "mlp", "attention", "adaloss", "uncertainty", "dwa", "random", "famo", "tchebycheff")
    return {
        **{name: (name, {}) for name in (*plain, "gradnorm")},
        "fixed": ("fixed", {"weights": [1.0] * len(teachers)}),
        "mlp_paper": ("mlp", {"form": "paper"}),
        "attention_paper": ("attention", {"form": "paper"}),
        "image_attention": ("image_attention", pooled),
        "image_attention_paper": ("image_attention", {"form": "paper", **pooled}),
        "gradnorm_every_10": ("gradnorm", {"every": 10}),
        "dropping": ("dropping", {}),
        "dropping_mlp": ("dropping", {"inner": "mlp"}),
    }


class Step:
    """A training step of a student whose balancer's part is timed by itself."""

    def __init__(self, backbone: str, size: int, batch: int, device: torch.device, teachers: tuple[str, ...]) -> None:
        view = FeatureView()
        self.shapes = {name: view.shape(teacher_class(name).spec) for name in teachers}
        self.device = device
        self.student = StudentWithHeads(StudentEncoder(backbone), self.shapes).to(device)
        self.optimiser = torch.optim.AdamW(self.student.parameters(), fused=True)
        self.loss = FeatureLoss()
        self.image = torch.rand(batch, 1, size, size, device=device)
        self.targets = {name: torch.randn(batch, *shape, device=device) for name, shape in self.shapes.items()}
        eye = torch.eye(3, dtype=torch.float64)
        self.here = eye.expand(batch, 3, 3)
        self.there = {}
        for name, (_, rows, columns) in self.shapes.items():
            down, right = size / rows, size / columns
            place = torch.tensor([[down, 0, (down - 1) / 2], [0, right, (right - 1) / 2], [0, 0, 1]])
            self.there[name] = place.double().expand(batch, 3, 3)

    @property
    def channels(self) -> tuple[int, list[int]]:
        """Of the fused map, and of each teacher's stored map."""
        return self.student.student.out_channels, [shape[0] for shape in self.shapes.values()]

    def run(self, balancer: Balancer, optimiser: torch.optim.Optimizer | None, number: int) -> tuple[float, float]:
        """One step.

        Returns:
            Seconds of the balancer, seconds of all the rest.
        """
        begin = now(self.device)
        self.optimiser.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            output = self.student(self.image, self.here, self.there)
        losses = torch.stack([self.loss(output.predictions[name], self.targets[name]) for name in self.shapes], 1)
        at_losses = now(self.device)
        context = BalancerContext(number, 1000, output.shared if balancer.needs_shared else None)
        if balancer.needs_pooled:
            pooled = [target.mean((2, 3)) for target in self.targets.values()]
            context = BalancerContext(number, 1000, context.shared, output.shared.detach().mean((2, 3)), pooled)
        parameters = list(balancer.parameters())
        balance = balancer(losses, context)
        found = torch.autograd.grad(balance.total, [losses, *parameters], allow_unused=True)
        at_balance = now(self.device)
        losses.backward(found[0])
        self.optimiser.step()
        at_step = now(self.device)
        for parameter, gradient in zip(parameters, found[1:]):
            parameter.grad = gradient
        if optimiser:
            optimiser.step()
        balancer.after_step(losses.detach().mean(0))
        end = now(self.device)
        spent = (at_balance - at_losses) + (end - at_step)
        return spent, end - begin - spent


def measure(step: Step, repeats: int, seed: int = 0) -> dict[str, Any]:
    """Time all balancers in turns.

    Args:
        step: the training step.
        repeats: steps of every balancer that count, after two that do not.
        seed: of the order.

    Returns:
        Median time of a step without its balancer, and by balancer its median time and share, with quartiles.
    """
    order = random.Random(seed)
    student, teachers = step.channels
    wanted = cases(student, teachers)
    balancers = {
        label: make_balancer(name, len(teachers), **options).to(step.device)
        for label, (name, options) in wanted.items()
    }
    optimisers = {
        label: torch.optim.AdamW(balancer.parameters(), weight_decay=0.0) if list(balancer.parameters()) else None
        for label, balancer in balancers.items()
    }
    spent: dict[str, list[tuple[float, float]]] = {label: [] for label in wanted}
    for number in range(-WARM_UP, repeats):
        for label in order.sample(sorted(wanted), len(wanted)):
            times = step.run(balancers[label], optimisers[label], number + WARM_UP)
            if number >= 0:
                spent[label].append(times)
    # One yardstick for all: the balancer's part is small, the step's time varies.
    whole = statistics.median(rest for times in spent.values() for _, rest in times)
    report = {}
    for label, times in spent.items():
        shares = [own / whole for own, _ in times]
        low, _, high = statistics.quantiles(shares, n=4) if len(shares) > 1 else shares * 3
        needs = "shared map" if balancers[label].needs_shared else "losses"
        report[label] = {
            "overhead": statistics.median(shares),
            "quartiles": [low, high],
            "ms": 1000 * statistics.median(own for own, _ in times),
            "needs": "pooled features" if balancers[label].needs_pooled else needs,
        }
    return {"step_ms": 1000 * whole, "balancers": report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="efficientvit_b0", help="backbone (default: efficientvit_b0)")
    parser.add_argument(
        "--teachers", nargs="+", default=TEACHERS, help="whose shapes are taken (default: the open ones)"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default: 256)")
    parser.add_argument("--batch", type=int, default=16, help="images per step (default: 16)")
    parser.add_argument("--repeats", type=int, default=15, help="steps of each balancer (default: 15)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="processor cores (default: 2)")
    parser.add_argument(
        "--output", default="docs/results/balancers.json", help="(default: docs/results/balancers.json)"
    )
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    found = measure(Step(args.student, args.size, args.batch, device, tuple(args.teachers)), args.repeats)
    of_losses = [one["overhead"] for one in found["balancers"].values() if one["needs"] == "losses"]
    report = {
        "overhead_is": "time of the balancer over that of the rest of the step, medians; a fraction: 0.02 is 2 %",
        "largest_of_those_that_use_losses_only": max(of_losses),
        "target": TARGET,
        **found,
        "step_is": f"{args.student}, {args.size} px, batch {args.batch}, projectors of {len(args.teachers)} teachers",
        "teachers": list(args.teachers),
        "device": device_title(device, args.threads),
        "load_average": round(os.getloadavg()[0], 1),
        "repeats": args.repeats,
        "command": f"python -m experiments.costs.balancer_overhead --device {args.device} --repeats {args.repeats}",
    }
    write_json(Path(args.output), report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
