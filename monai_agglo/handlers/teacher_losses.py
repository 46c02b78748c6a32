"""Losses, weights and gradient norms per teacher as training metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events

__all__ = ["IterationScalars", "TeacherLosses", "metric_name"]


def metric_name(kind: str, teacher: str, student: str | None = None) -> str:
    """Name of a metric: ``loss/medsam``, or ``small/loss/medsam`` in a run with several students.

    Args:
        kind: ``loss``, ``weight``, ``gradient_norm``, ``r2`` or ``cosine``.
        teacher: name of the teacher.
        student: name of the student, None for a single one.

    Returns:
        The name.
    """
    return "/".join(part for part in (student, kind, teacher) if part)


class TeacherLosses:
    """Writes ``loss/<teacher>``, ``weight/<teacher>`` (alpha) and ``gradient_norm/<teacher>`` into ``state.metrics``.

    Values are means over the epoch and all processes; gradient norms over the iterations with a measurement.
    ``train_loss`` is the mean total loss. With several students, names are prefixed with the student's name.

    Args:
        teachers: names, in the order of the losses.
    """

    def __init__(self, teachers: Sequence[str]) -> None:
        self.teachers = tuple(teachers)
        self.sums: dict[str, torch.Tensor] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer; list this before the handlers that log metrics."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def reset(self, engine: Engine) -> None:
        """Reset the means."""
        self.sums = {}

    def add(self, engine: Engine) -> None:
        """Add one iteration, without a device synchronisation."""
        results: Mapping[str, Any] = engine.state.output["results"]
        for student, result in results.items():
            rows = {"loss": result.losses, "weight": result.weights, "gradient_norm": result.gradient_norms}
            rows["total"] = result.total.reshape(1)
            for kind, values in rows.items():
                if values is None:
                    continue
                values = values.detach().float()
                # the last entry counts
                values = torch.cat([values, values.new_ones(1)])
                key = f"{student}\n{kind}"
                self.sums[key] = self.sums[key] + values if key in self.sums else values

    def write(self, engine: Engine) -> None:
        """Write the means of the epoch."""
        students = list(engine.state.output["results"])
        for key in sorted(self.sums):
            student, kind = key.split("\n")
            values = self.sums[key].clone()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(values)
            means = (values[:-1] / values[-1]).tolist()
            label = student if len(students) > 1 else None
            if kind == "total":
                engine.state.metrics[metric_name("train_loss", "", label)] = means[0]
                continue
            for teacher, value in zip(self.teachers, means):
                engine.state.metrics[metric_name(kind, teacher, label)] = value


class IterationScalars:
    """Scalars of one iteration for a tracker, as its ``output_transform``.

    Args:
        teachers: names, in the order of the losses.
    """

    def __init__(self, teachers: Sequence[str]) -> None:
        self.teachers = tuple(teachers)

    def __call__(self, output: Mapping[str, Any]) -> dict[str, float]:
        """Extract the scalars.

        Args:
            output: output of an :class:`monai_agglo.engines.AgglomerationTrainer`.

        Returns:
            ``step_loss`` and ``step_weight`` of every teacher, and the total loss, by metric name.
        """
        found = {}
        several = len(output["results"]) > 1
        for student, result in output["results"].items():
            label = student if several else None
            found[metric_name("step_loss", "total", label)] = float(result.total)
            for teacher, loss, weight in zip(self.teachers, result.losses.tolist(), result.weights.tolist()):
                found[metric_name("step_loss", teacher, label)] = loss
                found[metric_name("step_weight", teacher, label)] = weight
        return found
