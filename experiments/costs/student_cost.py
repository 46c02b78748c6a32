#!/usr/bin/env python3
"""What a further student of a distillation costs: students that are trained together read and decode targets once.

    python -m experiments.costs.student_cost [--device cpu] [--rounds N] [--output docs/results/students.json]

The bundle's own trainer takes 1, 2 and 3 equal students through the same synthetic frames, in turns, in random order.
The teachers have their real architectures and random weights, which changes no time. A further student's cost is the
time it adds to an iteration, reading included, over the time of its own forward pass, backward pass and step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser

from experiments.benchmark.clock import device_title, now
from monai_agglo.engines import AgglomerationTrainer, Learner
from monai_agglo.files import write_json

TEACHERS = ("litemedsam", "mobilesam", "dinov2_small", "mobilenet_v3")
TARGET = 1.1
STUDENTS = (1, 2, 3)
CONFIG = Path(__file__).parents[2] / "bundles" / "agglo_distill" / "configs" / "train.json"


class TimedLearner:
    """A learner whose own time is kept: all between two calls of it that is its own work."""

    def __init__(self, learner: Learner, device: torch.device) -> None:
        self.learner = learner
        self.device = device
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learner, name)

    def backward(self, *args, **kwargs):
        return self._timed(self.learner.backward, *args, **kwargs)

    def step(self, *args, **kwargs):
        return self._timed(self.learner.step, *args, **kwargs)

    def _timed(self, work, *args, **kwargs):
        begin = now(self.device)
        result = work(*args, **kwargs)
        self.seconds += now(self.device) - begin
        return result


def make_trainer(folder: str, students: int, device: torch.device, **options: Any) -> AgglomerationTrainer:
    """The trainer of ``bundles/agglo_distill`` without what watches and saves, for one epoch."""
    parser = ConfigParser()
    parser.read_config(str(CONFIG))
    parser.update(
        {
            "bundle_root": str(CONFIG.parents[1]),
            "output_dir": folder,
            "phantom_dir": f"{folder}/phantom",
            "dataset_dir": f"{folder}/phantom",
            "random_weights": True,
            "device": device,
            "epochs": 1,
            "students": [{"name": f"student_{n}"} for n in range(students)],
            **options,
        }
    )
    found = {name: parser.get_parsed_content(name) for name in ("learners", "reader", "train#dataloader", "precision")}
    learners = [TimedLearner(learner, device) for learner in found["learners"]]
    return AgglomerationTrainer(
        device, 1, found["train#dataloader"], learners, found["reader"], found["precision"]  # type: ignore[arg-type]
    )  # fmt: skip


def time_iterations(trainer: AgglomerationTrainer) -> tuple[list[float], list[float]]:
    """One epoch.

    Returns:
        Seconds of every iteration, reading included; seconds of every student's own part in it, mean over the students.
    """
    whole: list[float] = []
    own: list[float] = []
    device = torch.device(trainer.state.device)
    begin = 0.0

    def start() -> None:
        nonlocal begin
        begin = now(device)
        for learner in trainer.learners:
            learner.seconds = 0.0  # type: ignore[attr-defined]

    def stop() -> None:
        whole.append(now(device) - begin)
        own.append(statistics.mean(learner.seconds for learner in trainer.learners))  # type: ignore[attr-defined]

    handlers = [
        trainer.add_event_handler(Events.GET_BATCH_STARTED, start),
        trainer.add_event_handler(Events.ITERATION_COMPLETED, stop),
    ]
    trainer.run()
    for handler in handlers:
        handler.remove()
    return whole, own


def measure(folder: str, device: torch.device, rounds: int, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Time trainings with one, two and three students in turns.

    Args:
        folder: for the synthetic frames and the cache of the targets.
        device: where to train.
        rounds: that count, after one that does not.
        seed: of the order.
        options: of the bundle's config.

    Returns:
        Milliseconds of an iteration by number of students, of a student's own part, and what a further one costs.
    """
    order = random.Random(seed)
    trainers = {students: make_trainer(folder, students, device, **options) for students in STUDENTS}
    whole: dict[int, list[float]] = {students: [] for students in STUDENTS}
    own: list[float] = []
    for number in range(rounds + 1):
        for students in order.sample(STUDENTS, len(STUDENTS)):
            times, parts = time_iterations(trainers[students])
            if number:
                whole[students] += times
                own += parts if students == 1 else []
    middle = {students: statistics.median(times) for students, times in whole.items()}
    itself = statistics.median(own)
    further = (middle[STUDENTS[-1]] - middle[1]) / (STUDENTS[-1] - 1)
    return {
        "further_student_over_itself": further / itself,
        "iteration_ms": {str(students): 1000 * seconds for students, seconds in middle.items()},
        "itself_ms": 1000 * itself,
        "shared_ms": 1000 * (middle[1] - itself),
        "iterations": len(own),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--teachers", nargs="+", default=TEACHERS, help="whose shapes are taken (default: the open ones)"
    )
    parser.add_argument("--size", type=int, default=256, help="pixels a side (default: 256)")
    parser.add_argument("--batch", type=int, default=16, help="images per step (default: 16)")
    parser.add_argument("--patients", type=int, default=8, help="synthetic patients of 8 frames (default: 8)")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each number of students (default: 5)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, default=2, help="processor cores (default: 2)")
    parser.add_argument("--output", default="docs/results/students.json", help="(default: docs/results/students.json)")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    options = {
        "teachers": list(args.teachers),
        "image_size": args.size,
        "batch_size": args.batch,
        "patients": args.patients,
    }
    with tempfile.TemporaryDirectory() as folder:
        found = measure(folder, device, args.rounds, **options)
    report = {
        "further_student_over_itself_is": "time that a second and a third student add to an iteration, each, over the "
        "time of a student's own forward pass, backward pass and step; medians",
        **found,
        "target": TARGET,
        "students_are": f"efficientvit_b0, {args.size} px, batch {args.batch}, MLP projectors, equal weights",
        "teachers": list(args.teachers),
        "data": f"synthetic frames of {args.patients} patients; teachers with random weights",
        "device": device_title(device, args.threads),
        "load_average": round(os.getloadavg()[0], 1),
        "command": f"python -m experiments.costs.student_cost --device {args.device} --rounds {args.rounds}",
    }
    write_json(Path(args.output), report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
