"""Distillation of one cell of the study: student, retention and a trace of losses and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from torch.utils.data import DataLoader

from monai_agglo.data import RandFluoroscopyd, StudentFrameDataset
from monai_agglo.distill.probes.tasks import Task
from monai_agglo.distill.run import training_statistics
from monai_agglo.engines import AgglomerationTrainer, Learner, RetentionEvaluator, TargetReader, check_strides
from monai_agglo.handlers.provenance import git_revision
from monai_agglo.handlers.resumable_checkpoint import random_state, save_atomically, set_random_state
from monai_agglo.handlers.retention import RetentionMetric
from monai_agglo.losses import FeatureLoss, TargetSpace
from monai_agglo.networks.student import StudentEncoder
from monai_agglo.networks.student_file import read_student, write_student

from .cells import SCRATCH, SIMPLE, VARIANTS, StudyCell, balancing_of
from .images import frames_of, open_cache
from .plan import StudySettings

__all__ = ["StepBatches", "distil", "load_student", "new_student", "student_path"]

TRACE = 60
"""Points of the trace of a distillation."""
CHECKPOINT_EVERY = 100
"""Steps; what a killed distillation loses at most."""


class StepBatches:
    """A fixed number of batches over shuffled epochs, from any step on.

    Args:
        count: of samples.
        batch: samples per step; all when there are fewer.
        steps: of the whole training.
        seed: of the order.
        first: step to begin with.
    """

    def __init__(self, count: int, batch: int, steps: int, seed: int, first: int = 0) -> None:
        self.count, self.batch, self.steps, self.seed, self.first = count, min(batch, count), steps, seed, first

    def __len__(self) -> int:
        return self.steps - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.count // self.batch
        for step in range(self.first, self.steps):
            epoch, place = divmod(step, share)
            order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            yield [(epoch, int(n)) for n in order[place * self.batch : (place + 1) * self.batch]]


def new_student(cell: StudyCell) -> StudentEncoder:
    """A student with random weights, the same for every method of one backbone and seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(hashlib.sha256(f"{cell.backbone}|{cell.seed}".encode()).hexdigest()[:8], 16))
        return StudentEncoder(cell.backbone)


def student_path(folder: Path, cell: StudyCell) -> Path:
    """Where a distilled student is kept."""
    return folder / "students" / f"{cell.id}.safetensors"


def load_student(folder: Path, cell: StudyCell) -> StudentEncoder:
    """A distilled student, or a new one for ``scratch``.

    Raises:
        FileNotFoundError: if the student is gone, as in a study that was restored from its record.
    """
    if cell.method == SCRATCH:
        return new_student(cell)
    return read_student(student_path(folder, cell))[0]


def make_learner(
    cell: StudyCell,
    settings: StudySettings,
    shapes: Mapping[str, tuple[int, int, int]],
    steps: int,
    device,
    alone: Mapping[str, float] | None = None,
):
    """The learner of a cell; shapes are those of its teachers' stored maps, and ``alone`` as in :func:`distil`."""
    balancer, options = balancing_of(cell)
    if cell.method in VARIANTS:
        options = {**options, "ideal": [(alone or {})[teacher] for teacher in shapes]}
    student = new_student(cell)
    check_strides(student, settings.size, shapes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 + cell.seed)  # projectors and balancer
        return Learner(
            cell.backbone, student, shapes, steps, device, hidden=settings.hidden, balancer=balancer,
            balancer_options=options,
            feature_loss=FeatureLoss("mse" if cell.method == SIMPLE else "cosine_smooth_l1"),
            lr=settings.lr, average_decay=settings.average_decay, capture=True, distributed=False,
        )  # fmt: skip


def distil(
    cell: StudyCell,
    settings: StudySettings,
    tasks: Mapping[str, Task],
    folder: Path,
    device: str | torch.device = "cpu",
    alone: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Distil one student; a killed distillation goes on from its last checkpoint.

    Args:
        cell: which.
        settings: of the study.
        tasks: by name, for their frames.
        folder: of the study; the student goes into ``students``.
        device: where to train.
        alone: by teacher, the loss that a student of it alone ended with; what :data:`~.cells.VARIANTS` have to know.

    Returns:
        ``retention`` per teacher on held-out images, ``trace`` of losses and weights, and what it was made of.
    """
    steps = cell.steps
    names = cell.teachers(settings)
    cache = open_cache(folder, cell.images)
    dataset = StudentFrameDataset(
        frames_of(tasks, cell.images, settings), cache, names, settings.size,
        RandFluoroscopyd(strength=0.5, invert=0.0), settings.zoom, seed=cell.seed, progress=False,
    )  # fmt: skip
    statistics = training_statistics(cache, [key for _, key in dataset.data], names)
    space = TargetSpace(cell.targets, statistics).to(device)
    learner = make_learner(cell, settings, {name: cache.shape(name) for name in names}, steps, device, alone)
    checkpoint = folder / "checkpoints" / f"{cell.id}.pt"
    trace: list[dict[str, Any]] = []
    with torch.random.fork_rng():
        torch.manual_seed(cell.seed)
        if checkpoint.is_file():
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            learner.load_state_dict(state["learner"])
            set_random_state(state["random"])
            trace = state["trace"]
        if learner.steps < steps:
            batches = StepBatches(len(dataset), settings.batch, steps, cell.seed, learner.steps)
            trainer = AgglomerationTrainer(
                device, 1, DataLoader(dataset, batch_sampler=batches), [learner], TargetReader(cache, space)
            )

            def note(engine) -> None:
                if learner.steps % max(1, steps // TRACE) == 0 or learner.steps == steps:
                    result = engine.state.output["results"][learner.name]
                    trace.append(
                        {"step": learner.steps, "losses": _numbers(result.losses), "weights": _numbers(result.weights)}
                    )
                if learner.steps % CHECKPOINT_EVERY == 0 and learner.steps < steps:
                    state = {"learner": learner.state_dict(), "random": random_state(), "trace": trace}
                    save_atomically(state, checkpoint)

            trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
            trainer.run()
        retention = measure_retention(cell, settings, tasks, folder, learner, space, device)
    about = {
        "cell": cell.id,
        "teachers": {name: cache.describe(name)["teacher"]["licence"] for name in names},
        "images": {t.name: t.licence for t in tasks.values() if cell.images != "shippable" or t.shippable},
        "retention": retention,
        "steps": steps,
        "random_teachers": settings.random_teachers,
    }
    write_student(student_path(folder, cell), learner.averaged.student, about)
    checkpoint.unlink(missing_ok=True)
    return {
        "cell": cell.id,
        "name": cell.name,
        "backbone": cell.backbone,
        "seed": cell.seed,
        "teachers": list(names),
        "retention": retention,
        "trace": trace,
        "steps": steps,
        "images": len(dataset),
        "data_hash": dataset.data_hash,
        "git_revision": git_revision(),
        "device": str(device),
    }


def measure_retention(cell, settings, tasks, folder, learner, space, device) -> dict[str, dict[str, float]]:
    """R2 and cosine of each of the cell's teachers on validation images."""
    held = open_cache(folder, "held")
    data = StudentFrameDataset(
        frames_of(tasks, "held", settings), held, cell.teachers(settings), settings.size, progress=False
    )
    evaluator = RetentionEvaluator(
        device, DataLoader(data, batch_size=8), [learner], TargetReader(held, space),
        key_val_metric={"retention": RetentionMetric()},
    )  # fmt: skip
    evaluator.run()
    found = evaluator.state.metric_details["retention"][learner.name]
    return {teacher: {name: round(value, 5) for name, value in row.items()} for teacher, row in found.items()}


def _numbers(values: torch.Tensor) -> list[float]:
    return [round(float(value), 6) for value in values.cpu()]
