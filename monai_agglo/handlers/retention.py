"""Retention: how well a student reproduces each teacher's features on held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine

from .evaluation_metric import EvaluationMetric
from .teacher_losses import metric_name

__all__ = ["RetentionMetric", "Tally"]


class Tally:
    """Running sums over the tokens of one teacher for R2 and cosine similarity.

    Args:
        channels: number of channels k.
        device: device of the sums.
    """

    def __init__(self, channels: int, device: torch.device | str = "cpu") -> None:
        # no float64 on Apple's and some other accelerators: use the CPU
        self.device = torch.device(device) if torch.device(device).type in ("cpu", "cuda") else torch.device("cpu")
        self.sums = torch.zeros(2 + 3 * channels, dtype=torch.float64, device=self.device)
        self.channels = channels

    def add(self, prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> None:
        """Add a batch.

        Args:
            prediction: (B, k, h, w).
            target: (B, k, h, w).
            mask: (B, h, w); tokens below one half are ignored.
        """
        inside = mask >= 0.5
        predicted = prediction.permute(0, 2, 3, 1)[inside].to(self.device, torch.float64)
        true = target.permute(0, 2, 3, 1)[inside].to(self.device, torch.float64)
        if not len(true):
            return
        k = self.channels
        self.sums[0] += len(true)
        self.sums[1] += torch.nn.functional.cosine_similarity(predicted, true, dim=1).sum()
        self.sums[2 : 2 + k] += true.sum(0)
        self.sums[2 + k : 2 + 2 * k] += true.square().sum(0)
        self.sums[2 + 2 * k :] += (predicted - true).square().sum(0)

    def gather(self) -> None:
        """Sum over all processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            sums = self.sums.to("cuda" if torch.distributed.get_backend() == "nccl" else "cpu")
            torch.distributed.all_reduce(sums)
            self.sums = sums.to(self.device)

    def result(self) -> dict[str, float]:
        """Compute the results.

        Returns:
            ``r2`` (1 - squared error / variance, over all channels together), ``r2_channels`` (the same per channel,
            averaged over the channels that vary), ``cosine`` (mean over tokens) and ``tokens``.
        """
        k, count = self.channels, float(self.sums[0])
        if count < 2:
            return {"r2": float("nan"), "r2_channels": float("nan"), "cosine": float("nan"), "tokens": count}
        total, square, error = (self.sums[2 + i * k : 2 + (i + 1) * k] for i in range(3))
        scatter = (square - total.square() / count).clamp(min=0)
        varies = scatter > 1e-9 * scatter.max().clamp(min=1e-30)
        each = 1 - error[varies] / scatter[varies]
        return {
            "r2": float(1 - error.sum() / scatter.sum().clamp(min=1e-30)),
            "r2_channels": float(each.mean()) if len(each) else float("nan"),
            "cosine": float(self.sums[1] / count),
            "tokens": count,
        }


class RetentionMetric(EvaluationMetric):
    """R2 and cosine similarity of the reproduced features of every teacher, in its stored space.

    The metric value is the lowest R2 over students and teachers. ``r2/<teacher>``, ``cosine/<teacher>``, ``worst_r2``
    and ``mean_r2`` are written to ``engine.state.metrics``, prefixed with the student's name in a run with several; all
    results into ``engine.state.metric_details``. Under ``torch.distributed`` the sums of all processes are added up.

    Args:
        name: name in messages.
    """

    def __init__(self, name: str = "retention") -> None:
        self.name = name
        super().__init__()

    def reset(self) -> None:
        """Reset all sums."""
        self.tallies: dict[str, dict[str, Tally]] = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Add the output of a :class:`monai_agglo.engines.RetentionEvaluator`."""
        self.update(engine.state.output)

    def update(self, output: Mapping[str, Any]) -> None:
        """Add a batch.

        Args:
            output: ``pred`` by student and teacher, ``label`` and ``mask`` by teacher.
        """
        for student, predictions in output["pred"].items():
            mine = self.tallies.setdefault(student, {})
            for teacher, prediction in predictions.items():
                if teacher not in mine:
                    mine[teacher] = Tally(prediction.shape[1], prediction.device)
                mine[teacher].add(prediction, output["label"][teacher], output["mask"][teacher])

    def compute(self) -> float:
        """Gather and compute.

        Returns:
            Lowest R2 over students and teachers; the full table is in ``report``.
        """
        self.report: dict[str, dict[str, dict[str, float]]] = {}
        for student, mine in self.tallies.items():
            for tally in mine.values():
                tally.gather()
            self.report[student] = {teacher: tally.result() for teacher, tally in mine.items()}
        found = [row["r2"] for rows in self.report.values() for row in rows.values()]
        return min(found) if found else float("nan")

    def completed(self, engine: Engine, name: str) -> None:
        """Write the results into the engine's state."""
        engine.state.metrics[name] = self.compute()
        for student, rows in self.report.items():
            label = student if len(self.report) > 1 else None
            for teacher, row in rows.items():
                engine.state.metrics[metric_name("r2", teacher, label)] = row["r2"]
                engine.state.metrics[metric_name("cosine", teacher, label)] = row["cosine"]
            values = [row["r2"] for row in rows.values()]
            engine.state.metrics[metric_name("worst_r2", "", label)] = min(values)
            engine.state.metrics[metric_name("mean_r2", "", label)] = sum(values) / len(values)
        engine.state.metric_details[name] = self.report
