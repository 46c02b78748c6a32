"""Distillation of one cell of the study: student, retention and a trace of losses and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_agglo.data import RandFluoroscopyd, StudentFrameDataset
from monai_agglo.distill.probes.tasks import Task
from monai_agglo.distill.run import describe_run, target_space
from monai_agglo.distill.training import LossTrace, train_students
from monai_agglo.engines import Learner, check_strides
from monai_agglo.losses import FeatureLoss
from monai_agglo.networks.student import StudentEncoder
from monai_agglo.networks.student_file import read_student

from .cells import SCRATCH, SIMPLE, VARIANTS, StudyCell, balancing_of
from .images import frames_of, open_cache
from .plan import StudySettings, teachers_of

__all__ = ["distil", "load_student", "new_student", "student_path"]


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
            cell.id, student, shapes, steps, device, hidden=settings.hidden, balancer=balancer,
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
    names = teachers_of(cell, settings)
    cache, held = open_cache(folder, cell.images), open_cache(folder, "held")
    dataset = StudentFrameDataset(
        frames_of(tasks, cell.images, settings), cache, names, settings.size,
        RandFluoroscopyd(strength=0.5, invert=0.0), settings.zoom, seed=cell.seed, progress=False,
    )  # fmt: skip
    validate = StudentFrameDataset(frames_of(tasks, "held", settings), held, names, settings.size, progress=False)
    learner = make_learner(cell, settings, {name: cache.shape(name) for name in names}, steps, device, alone)
    licences = {t.name: t.licence for t in tasks.values() if cell.images != "shippable" or t.shippable}
    cases = {"training": len(dataset), "validation": len(validate)}
    card = describe_run(
        {"images": list(licences), "licences": licences, "cases": cases}, cache, dataset, validate, cell=cell.id,
        targets=cell.targets, image_size=settings.size, steps=steps, batch_size=settings.batch, zoom=settings.zoom,
        seed=cell.seed,
    )  # fmt: skip
    checkpoint = folder / "checkpoints" / f"{cell.id}.pt"
    trace = LossTrace()
    found = train_students(
        dataset, validate, [learner], target_space(cell.targets, dataset, device), card,
        student_path(folder, cell).parent, checkpoint, steps=steps, batch=settings.batch, seed=cell.seed, device=device,
        trace=trace,
    )[learner.name]  # fmt: skip
    checkpoint.unlink(missing_ok=True)
    retention = {teacher: {name: round(value, 5) for name, value in row.items()} for teacher, row in found.items()}
    return {
        "cell": cell.id,
        "name": cell.name,
        "backbone": cell.backbone,
        "seed": cell.seed,
        "teachers": list(names),
        "retention": retention,
        "trace": trace.rows,
        "steps": steps,
        "images": len(dataset),
        "data_hash": dataset.data_hash,
        "git_revision": card["git_revision"],
        "device": str(device),
    }
