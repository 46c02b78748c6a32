"""Scores of methods, from the results of their probes and distillations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from monai_agglo.distill.probes.bootstrap import TaskScores
from monai_agglo.distill.probes.phantom_task import PHANTOM

from .cells import StudyCell
from .plan import singles

__all__ = ["retention_ratios", "task_scores", "worst"]


class Study(Protocol):
    """What scores and choice need of a :class:`~.runner.Study`."""

    settings: Any
    store: Any
    tasks: Any

    @property
    def probed(self) -> Any: ...

    @property
    def judged(self) -> list[str]: ...

    def scores(self, stage: str, cell: StudyCell, task: Any) -> Any: ...

    def distil_key(self, cell: StudyCell) -> str: ...

    def ranking(self) -> list[tuple[StudyCell, float]]: ...


def task_scores(
    study: Study, stage: str, cells: Sequence[StudyCell], names: Sequence[str] | None = None, setting: str | None = None
) -> list[TaskScores] | None:
    """Scores of one method, a cell per seed.

    Args:
        study: whose results are read.
        stage: ``screen``, ``val`` or ``test``.
        cells: seeds in their order.
        names: of tasks; the real ones when None.
        setting: one way of probing; all when None. Tasks that are too small for it are left out.

    Returns:
        An entry per task; None where a result is missing.
    """
    if names is None:
        names = [t.name for t in study.probed if t.name != PHANTOM]
        if stage == "screen":
            names = [name for name in names if name in study.settings.screen_tasks]
    scores = []
    for name in names:
        seeds, sources = [], ()
        for cell in cells:
            found = study.scores(stage, cell, study.tasks[name])
            if found is None:
                return None
            probes = {key: row for key, row in found["probes"].items() if setting in (None, key)}
            if not probes:
                break
            seeds.append([[np.nan if d is None else d for d in row["dice"]] for row in probes.values()])
            sources = tuple(next(iter(probes.values()))["sources"])
        if seeds:
            scores.append(TaskScores(name, np.array(seeds, float), sources))
    return scores or None


def retention_ratios(study: Study, cells: Sequence[StudyCell]) -> dict[str, float]:
    """R2 of a method over that of a student of each teacher alone: same targets, seeds and length.

    Args:
        study: whose results are read.
        cells: the method, a cell per seed.

    Returns:
        By teacher, mean R2 over mean R2; only of those whose results are there for every seed.
    """
    ratios = {}
    for teacher in study.settings.teachers:
        ours = [_r2(study, cell, teacher) for cell in cells]
        alone = [_r2(study, singles(study.settings, cell)[teacher], teacher) for cell in cells]
        if None not in ours and None not in alone:
            kept = float(np.mean(alone))  # a ratio to nothing would say nothing
            ratios[teacher] = float(np.mean(ours)) / kept if kept > 0 else math.nan
    return ratios


def _r2(study: Study, cell: StudyCell, teacher: str) -> float | None:
    found = study.store.get(study.distil_key(cell)) or {}
    return found.get("retention", {}).get(teacher, {}).get("r2")


def worst(ratios: Mapping[str, float]) -> float | None:
    """The least ratio; None while one is not known."""
    values = list(ratios.values())
    return min(values) if values and not any(math.isnan(value) for value in values) else None
