"""Handlers for the students of a distillation: averaged copies, files, reports."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_agglo.files import atomic_path
from monai_agglo.networks import write_student

from .resumable_checkpoint import _rank

__all__ = ["LearnerAverages", "LearnersLoader", "RetentionReport", "SaveStudents"]

logger = logging.getLogger(__name__)

WARNING = "distilled from teachers with RANDOM weights: its features mean nothing"
DIGITS = 5


class LearnerAverages:
    """Starts the averaged copies of the students and synchronises them over all processes; list it before validation.

    Args:
        learners: the students; they update their averages after each step.
    """

    def __init__(self, learners: Sequence[Any]) -> None:
        self.learners = list(learners)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        for learner in self.learners:
            engine.add_event_handler(Events.EPOCH_STARTED, learner.average.start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, learner.average.share)


class LearnersLoader:
    """Loads the students of a checkpoint when an engine starts.

    Args:
        path: ``checkpoint.pt`` of a distillation.
        learners: the students, built as in that distillation.
        space: its normalised target spaces.
    """

    def __init__(self, path: str | os.PathLike, learners: Sequence[Any], space: nn.Module | None = None) -> None:
        self.path = Path(path)
        self.learners = list(learners)
        self.space = space

    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine | None = None) -> None:
        """Load the checkpoint.

        Raises:
            FileNotFoundError: without a checkpoint.
            ValueError: if the checkpoint does not match.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no checkpoint {self.path}: train first, or name one with --checkpoint")
        objects = torch.load(self.path, map_location="cpu", weights_only=True).get("objects", {})
        try:
            for learner in self.learners:
                learner.load_state_dict(objects[f"student/{learner.name}"])
            if self.space is not None:
                self.space.load_state_dict(objects["space"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{self.path} is of another training: give the same teachers, targets, projector and balancer "
                f"({reason})"
            ) from error


class RetentionReport:
    """Writes the figures of a :class:`~.retention.RetentionMetric` as JSON at the end of an evaluation.

    Args:
        path: the JSON file, written atomically.
        card: facts about the run, plain JSON.
        learners: the students.
        part: evaluated part of the images.
        metric: name of the metric in the evaluator.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        card: dict[str, Any],
        learners: Sequence[Any],
        part: str = "validation",
        metric: str = "retention",
    ) -> None:
        self.path = Path(path)
        self.card = card
        self.learners = list(learners)
        self.part = part
        self.metric = metric

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Engine) -> None:
        """Write the report (rank 0 only)."""
        if _rank() > 0:
            return
        found = engine.state.metric_details[self.metric]
        students = {
            learner.name: {
                **learner.settings,
                "student": learner.network.student.options,
                **_summary(found[learner.name]),
            }
            for learner in self.learners
        }
        report = {"random": self.card["random"], "part": self.part, "students": students, "run": self.card}
        _write_json(self.path, report)
        logger.info("worst retention R2 %.4f; report in %s", engine.state.metrics[self.metric], self.path)


class SaveStudents:
    """Writes every student with its card at the end of the training: ``<name>.safetensors`` and ``<name>.json``.

    Args:
        learners: the students; their averaged copies are written.
        output_dir: output folder.
        card: facts about the run, plain JSON.
        evaluator: evaluator with the retention for the card.
        metric: name of the retention metric in the evaluator.
    """

    def __init__(
        self,
        learners: Sequence[Any],
        output_dir: str | os.PathLike,
        card: dict[str, Any],
        evaluator: Engine | None = None,
        metric: str = "retention",
    ) -> None:
        self.learners = list(learners)
        self.output_dir = Path(output_dir)
        self.card = card
        self.evaluator = evaluator
        self.metric = metric

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Engine) -> None:
        """Write the files."""
        details = getattr(self.evaluator.state, "metric_details", {}) if self.evaluator is not None else {}
        found = details.get(self.metric) or {}
        for learner in self.learners:
            path = self.output_dir / f"{learner.name}.safetensors"
            if not found and path.is_file():
                continue  # resumed after the last epoch: no new retention
            card = student_card(self.card, learner.settings, found.get(learner.name))
            write_student(path, learner.averaged.student, card)
            logger.info("student %s%s in %s", learner.name, f" ({WARNING})" if self.card["random"] else "", path)


def student_card(
    run: dict[str, Any], settings: dict[str, Any], retention: dict[str, dict[str, float]] | None = None
) -> dict[str, Any]:
    """Card of one student.

    Args:
        run: facts about the run.
        settings: settings of the student's learner.
        retention: retention by teacher.

    Returns:
        Plain JSON.
    """
    warning = {"warning": WARNING} if run["random"] else {}
    return {**warning, **run, "method": settings, **({} if retention is None else _summary(retention))}


def _summary(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    values = [row["r2"] for row in rows.values()]
    table = {teacher: {key: _rounded(v) for key, v in row.items()} for teacher, row in rows.items()}
    return {
        "retention": table,
        "worst_r2": _rounded(min(values)),
        "mean_r2": _rounded(sum(values) / len(values)),
    }


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, DIGITS)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
