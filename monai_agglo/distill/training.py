"""The training of students for a fixed number of steps, resumable when killed: what every distillation runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from torch.utils.data import DataLoader

from monai_agglo.data import StepBatchSampler, StudentFrameDataset
from monai_agglo.engines import AgglomerationTrainer, Learner, RetentionEvaluator, TargetReader
from monai_agglo.handlers import LearnerAverages, ResumableCheckpoint, RetentionMetric, SaveStudents
from monai_agglo.losses import TargetSpace

__all__ = ["LossTrace", "train_students"]

CHECKPOINT_EVERY = 100
"""Steps; what a killed training loses at most."""
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt} steps{postfix} [{elapsed}<{remaining}]"


class LossTrace:
    """Losses and weights of the teachers at evenly spread steps, of the first student.

    Args:
        points: of the trace.

    Attributes:
        rows: ``step``, ``losses`` and ``weights`` each.
    """

    def __init__(self, points: int = 60) -> None:
        self.points = int(points)
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)

    def note(self, engine: Engine) -> None:
        """Keep this step, if it is one of the points."""
        step, steps = engine.state.iteration, engine.state.max_epochs * engine.state.epoch_length
        if step % max(1, steps // self.points) == 0 or step == steps:
            result = next(iter(engine.state.output["results"].values()))
            self.rows.append(
                {"step": step, "losses": _numbers(result.losses), "weights": _numbers(result.weights)},
            )

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.rows = list(state["rows"])


def train_students(
    train: StudentFrameDataset,
    validate: StudentFrameDataset,
    learners: Sequence[Learner],
    space: TargetSpace,
    card: Mapping[str, Any],
    folder: Path,
    checkpoint: Path,
    *,
    steps: int,
    batch: int = 16,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    trace: LossTrace | None = None,
    model: Path | None = None,
    progress: bool = False,
) -> dict[str, dict[str, dict[str, float]]]:
    """Train students, measure their retention and write them; a killed training resumes from its checkpoint.

    Args:
        train: training images.
        validate: held-out images, of the same or another cache.
        learners: the students, on ``device``.
        space: normalised target spaces, on ``device``.
        card: of the run, see :func:`~.run.describe_run`.
        folder: for ``<name>.safetensors`` and ``<name>.json`` of every student.
        checkpoint: its file; resumed from where it exists, and kept at the end.
        steps: of the whole training.
        batch: images per step.
        seed: of the order and of all random draws; the caller's generator of torch is left as it is.
        device: where to train.
        precision: see :class:`monai_agglo.engines.AgglomerationTrainer`.
        trace: follows the losses.
        model: file for the plain state dict of the first student.
        progress: show a progress bar.

    Returns:
        Retention by student and teacher, see :class:`monai_agglo.handlers.RetentionMetric`.

    Raises:
        ValueError: when the checkpoint is of another training.
    """
    saved: dict[str, Any] = {**{f"student/{learner.name}": learner for learner in learners}, "space": space}
    handlers: list[Any] = [LearnerAverages(learners)]
    if trace is not None:
        saved["trace"] = trace
        handlers.append(trace)
    sampler = StepBatchSampler(train, batch, steps, seed)
    handlers.append(
        ResumableCheckpoint(
            saved, checkpoint, CHECKPOINT_EVERY, sampler, resume=checkpoint.is_file(), final_path=model,
            final=learners[0].averaged.student,
        )
    )  # fmt: skip
    trainer = AgglomerationTrainer(
        device, 1, DataLoader(train, batch_sampler=sampler), learners, TargetReader(train.cache, space), precision,
        train_handlers=handlers,
    )  # fmt: skip
    if progress:
        bar = ProgressBar(persist=True, desc="distilling", bar_format=BAR)
        every = Events.ITERATION_COMPLETED(
            every=20 if torch.device(device).type == "cuda" else 1
        )  # reading a loss waits
        bar.attach(trainer, event_name=every, output_transform=lambda output: {"loss": float(output["loss"])})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trainer.run()
    evaluator = RetentionEvaluator(
        device, DataLoader(validate, batch_size=8), learners, TargetReader(validate.cache, space), precision=precision,
        key_val_metric={"retention": RetentionMetric()},
    )  # fmt: skip
    evaluator.run()
    SaveStudents(learners, folder, dict(card), evaluator).write(trainer)
    return evaluator.state.metric_details["retention"]


def _numbers(values: torch.Tensor) -> list[float]:
    return [round(float(value), 6) for value in values.cpu()]
