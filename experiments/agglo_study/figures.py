"""The study's figures from whatever results there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monai_agglo.distill.probes.bootstrap import Estimate, TaskScores, difference, mean_dice

from .cells import SCRATCH, SIMPLE, StudyCell, with_seeds
from .images import cache_facts
from .plan import equal_of, grid, teachers_of
from .runner import Study
from .scores import retention_ratios, task_scores

__all__ = ["Figures", "collect"]


@dataclass
class Row:
    """One method.

    Attributes:
        cell: of seed 0.
        seeds: how many there are.
        dice: over the real tasks.
        over_simple: gain; None for simple itself and where it cannot be paired.
        over_equal: gain over equal weights on normalised targets.
        by_setting: mean Dice of each way of probing, by ``mode-images``.
        by_task: mean Dice of each task, the phantom among them.
        retention: R2 by teacher on held-out images, mean over seeds.
        cosine: the same of the cosine.
        weights: alpha at the end, mean over seeds, by teacher.
    """

    cell: StudyCell
    seeds: int
    dice: Estimate
    over_simple: Estimate | None = None
    over_equal: Estimate | None = None
    by_setting: dict[str, float] = field(default_factory=dict)
    by_task: dict[str, float] = field(default_factory=dict)
    retention: dict[str, float] = field(default_factory=dict)
    cosine: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


@dataclass
class Figures:
    """Everything that is reported.

    Attributes:
        stage: whose probes the rows are of: ``test``, or ``val`` and ``screen`` while the study is under way.
        missing: what is not there yet; empty for a whole study.
        rows: methods of that stage on the study's own backbone.
        chosen: name of the method chosen on validation images, None before there is one.
        students: rows on other backbones, by backbone.
        shipped: the student that is given away, None before it is there.
        screening: mean Dice on validation images by cell.
        traces: losses and weights while distilling, by cell, of seed 0.
        retention_ratios: what the chosen method keeps of each teacher, over a student of that teacher alone, all seeds.
        screened_ratios: the same of the screening, by cell of the finals' length.
        over_single: name of the single student in the finals, and the chosen method's gain over it.
        cpu_hours: of everything, teachers and tests included.
        wall_hours: the same by the clock, summed over processes.
        devices: on which students were distilled.
    """

    stage: str
    missing: str
    rows: dict[str, Row]
    chosen: str | None
    students: dict[str, dict[str, Row]]
    shipped: Row | None
    screening: dict[StudyCell, float]
    traces: dict[StudyCell, dict[str, Any]]
    retention_ratios: dict[str, float]
    screened_ratios: dict[StudyCell, dict[str, float]]
    over_single: tuple[str, Estimate] | None
    cpu_hours: float
    wall_hours: float
    devices: tuple[str, ...]


def collect(study: Study) -> Figures:
    """Work out all figures that the results allow.

    Args:
        study: whose results are read.

    Returns:
        The figures.

    Raises:
        RuntimeError: if there is nothing at all.
    """
    screening = study.screening()
    stage, cells, missing = _stage(study, screening)
    rows = _rows(study, stage, cells)
    if not rows:
        raise RuntimeError(f"{study.folder} holds no probes yet: there is nothing to report")
    whole = len(screening) == len(grid(study.settings))
    equal = rows.get(equal_of(study.settings, screening).name) if whole else None
    seeds = study.settings.seeds if stage != "screen" else 1
    for row in rows.values():
        _gains(study, stage, row, rows.get(SIMPLE), equal, seeds)
    chosen = study.choice() if study.chosen else None
    ratios = retention_ratios(study, with_seeds([chosen], study.settings.seeds)) if chosen is not None else {}
    screened = {row.cell: row.cell.at(steps=study.settings.steps) for row in rows.values() if row.cell.may_be_chosen}
    students: dict[str, dict[str, Row]] = {}
    shipped = None
    if chosen is not None:
        for cell in study.other_students():
            students.setdefault(cell.backbone, {}).update(_rows(study, "test", [cell], 1))
        for own in students.values():
            for row in own.values():
                _gains(study, "test", row, own.get(SIMPLE), None, 1)
        shipped = next(iter(_rows(study, "test", [study.shipped()], 1).values()), None)
        if stage == "test":
            missing = _untested(study)
    results = [study.store.get(key) or {} for key in study.store.finished()] + [cache_facts(study.folder) or {}]
    return Figures(
        stage, missing, rows, chosen.name if chosen else None, {k: v for k, v in students.items() if v}, shipped,
        screening, _traces(study), ratios,
        {cell: retention_ratios(study, [before]) for cell, before in screened.items()},
        _over_single(study, stage, rows, chosen, seeds),
        sum(r.get("cpu_seconds", 0) for r in results) / 3600, sum(r.get("wall_seconds", 0) for r in results) / 3600,
        tuple(sorted({str(r["device"]) for r in results if "device" in r})),
    )  # fmt: skip


def _untested(study: Study) -> str:
    """Students besides the finalists that have no test yet, in words; empty where all have one."""
    names = [c.id for c in (*study.other_students(), study.shipped()) if study.mean_score("test", [c]) is None]
    return f"not tested yet: {', '.join(names)}" if names else ""


def _stage(study: Study, screening: Mapping[StudyCell, float]) -> tuple[str, list[StudyCell], str]:
    """The last stage that has all finalists, its cells, and what is missing."""
    cells = grid(study.settings)
    if len(screening) < len(cells):
        return "screen", cells, f"{len(screening)} of {len(cells)} cells of the screening are there"
    final = study.finalists()
    every = with_seeds(final, study.settings.seeds)
    tested, validated = (
        sum(study.mean_score(stage, [cell]) is not None for cell in every) for stage in ("test", "val")
    )
    if tested == len(every):
        return "test", final, ""
    if validated == len(every):
        done = f"of {len(every)} students {tested} have been tested" if tested else "no test image has been looked at"
        return "val", final, f"{done}, these are validation images"
    return "screen", cells, "the finals are not complete; one seed, validation images of the screening tasks only"


def _rows(study: Study, stage: str, cells: Sequence[StudyCell], seeds: int | None = None) -> dict[str, Row]:
    """Rows of the cells that have all their seeds."""
    count = seeds or (1 if stage == "screen" else study.settings.seeds)
    rows = {}
    for cell in cells:
        own = with_seeds([cell], count)
        scores = task_scores(study, stage, own)
        if scores is None:
            continue
        row = rows[cell.name] = Row(cell, count, mean_dice(scores))
        found = study.scores(stage, own[0], study.tasks[scores[0].task])
        keys = dict.fromkeys(key for t in scores for key in _settings(study, stage, own[0], t.task)) if found else {}
        for key in keys:
            some = task_scores(study, stage, own, setting=key)
            if some:
                row.by_setting[key] = mean_dice(some, draws=2).mean
        for task in study.probed:
            mean = (
                study.mean_score(stage, own, [task.name]) if stage != "screen" or task.name in _names(scores) else None
            )
            if mean is not None:
                row.by_task[task.name] = mean
        if cell.method != SCRATCH:
            results = [study.store.get(study.distil_key(c)) for c in own]
            there = [r for r in results if r is not None]
            for teacher in teachers_of(cell, study.settings):
                row.retention[teacher] = float(np.mean([r["retention"][teacher]["r2"] for r in there]))
                row.cosine[teacher] = float(np.mean([r["retention"][teacher]["cosine"] for r in there]))
                place = teachers_of(cell, study.settings).index(teacher)
                row.weights[teacher] = float(np.mean([r["trace"][-1]["weights"][place] for r in there]))
    return rows


def _settings(study: Study, stage: str, cell: StudyCell, task: str) -> list[str]:
    found = study.scores(stage, cell, study.tasks[task])
    return list(found["probes"]) if found else []


def _names(scores: Sequence[TaskScores]) -> set[str]:
    return {own.task for own in scores}


def _gains(study: Study, stage: str, row: Row, simple: Row | None, equal: Row | None, seeds: int) -> None:
    """Fill in the paired differences."""
    own = task_scores(study, stage, with_seeds([row.cell], seeds))
    for other, place in ((simple, "over_simple"), (equal, "over_equal")):
        if other is None or other.cell == row.cell or own is None:
            continue
        theirs = task_scores(study, stage, with_seeds([other.cell], seeds))
        if theirs is not None:
            setattr(row, place, difference(own, theirs))


def _over_single(
    study: Study, stage: str, rows: Mapping[str, Row], chosen: StudyCell | None, seeds: int
) -> tuple[str, Estimate] | None:
    """The best student of one teacher, and the gain over it; of finalists only."""
    alone = [row for row in rows.values() if row.cell.method.startswith("single_")]
    row = rows.get(chosen.name) if chosen else None
    if row is None or not alone or stage == "screen":
        return None
    best = max(alone, key=lambda own: own.dice.mean)
    ours, theirs = (task_scores(study, stage, with_seeds([own.cell], seeds)) for own in (row, best))
    return None if ours is None or theirs is None else (best.cell.name, difference(ours, theirs))


def _traces(study: Study) -> dict[StudyCell, dict[str, Any]]:
    found = {cell: study.store.get(study.distil_key(cell)) for cell in grid(study.settings) if cell.agglomerates}
    return {cell: result for cell, result in found.items() if result is not None}
