"""Evaluation report as JSON, the source of all published tables."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from pathlib import Path

from ignite.engine import Engine, Events

from monai_agglo.data.frame_store import file_hash
from monai_agglo.files import atomic_path

from .resumable_checkpoint import _rank

__all__ = ["EvaluationReport", "command_line"]

logger = logging.getLogger(__name__)

DIGITS = 5


class EvaluationReport:
    """Writes the report of a :class:`StructureMetric` as JSON at the end of an evaluation (rank 0 only).

    The file holds ``data``, ``seed``, ``patients``, ``mean_dice``, ``mean_dice_ci95`` (its 95 % interval over patients,
    null with fewer than two), ``dice_is``, ``per_structure`` (Dice as a fraction, HD95 in pixels, frames present,
    missed frames, and false-positive area in % of frame),
    ``false_positive_area_pct`` (their mean), ``weights_sha256`` and ``command``.

    Args:
        path: the JSON file, written atomically.
        data: description of the evaluated data.
        seed: seed of the data; None for real data.
        weights: file of the evaluated weights, for its hash.
        command: command to reproduce the evaluation; if None, the command line of this process.
        metric: name of the metric in the evaluator.
        details: further entries.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        data: str,
        seed: int | None = None,
        weights: str | os.PathLike | None = None,
        command: str | None = None,
        metric: str = "val_mean_dice",
        details: dict | None = None,
    ) -> None:
        self.path = Path(path)
        self.data = data
        self.seed = seed
        self.weights = weights
        self.command = command
        self.metric = metric
        self.details = dict(details or {})

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Engine) -> None:
        """Write the report."""
        if _rank() > 0:
            return
        scores = engine.state.metric_details[self.metric]
        report = {
            "data": self.data,
            "seed": self.seed,
            "patients": scores["patients"],
            "mean_dice": scores["mean_dice"],
            "mean_dice_ci95": scores["mean_dice_ci95"],
            "dice_is": scores["dice_is"],
            "false_positive_area_pct": scores["false_positive_area_pct"],
            "per_structure": scores["per_structure"],
            "weights_sha256": None if self.weights is None else file_hash(self.weights),
            **self.details,
            "command": self.command or command_line(),
        }
        with atomic_path(self.path) as partial:
            partial.write_text(json.dumps(_rounded(report), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        dice = "none" if scores["mean_dice"] is None else f"{scores['mean_dice']:.4f}"
        logger.info("mean Dice %s over %d patients; report in %s", dice, scores["patients"], self.path)


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def command_line() -> str:
    """Command line of this process.

    Returns:
        ``python -m monai.bundle ...`` (after ``torchrun`` where that started it); the name of the program without its
        folder for any other.
    """
    program, *arguments = sys.argv or [""]
    parts = Path(program).parts
    if parts[-3:] == ("monai", "bundle", "__main__.py"):
        world = int(os.environ.get("WORLD_SIZE", "1"))
        torchrun = f"torchrun --standalone --nproc_per_node={world}"
        start = f"{torchrun if world > 1 else 'python'} -m monai.bundle"
    else:
        start = Path(program).name
    return " ".join([start, *map(_quoted, arguments)])


def _quoted(argument: str) -> str:
    """Quote for a shell; lists, which contain single quotes, in double quotes."""
    plain = not set(argument) & set('"$`\\!')
    return f'"{argument}"' if "'" in argument and plain else shlex.quote(argument)
