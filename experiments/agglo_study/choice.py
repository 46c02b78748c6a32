"""Which method is chosen, by validation images alone."""

from __future__ import annotations

import math
from typing import Any

from monai_agglo.distill.probes.bootstrap import TaskScores, difference

from .cells import StudyCell, with_seeds
from .scores import Study, retention_ratios, task_scores, worst

__all__ = ["choose"]

RULE = (
    "of those whose mean Dice of frozen probes on validation images of the real tasks cannot be told from the best"
    " (95 % interval of the paired difference), the one that kept most of its worst teacher in the screening"
)


def choose(study: Study) -> dict[str, Any]:
    """Choose among the finalists that agglomerate all teachers.

    The best on a few dozen validation images is the best by luck as much as by merit. Of the methods that cannot be
    told from it there, the one that keeps most of its worst teacher is chosen: a student of several teachers should
    know all of them. What each keeps is compared in the screening, where students of every teacher alone are there.

    Args:
        study: whose results are read.

    Returns:
        Plain JSON: ``chosen`` is the id of a cell, ``by`` the rule, ``ranking`` has a row per method, the best first.

    Raises:
        RuntimeError: before the finals are complete.
    """
    ranked = study.ranking()
    scores = {cell: _validation(study, cell) for cell, _ in ranked}
    leader = scores[ranked[0][0]]
    rows: list[dict[str, Any]] = []
    for cell, score in ranked:
        kept = worst(retention_ratios(study, [cell.at(steps=study.settings.steps)]))
        rows.append(
            {
                "cell": cell.id,
                "val_dice": round(score, 5),
                "over_the_best": difference(scores[cell], leader).as_json(),
                "worst_teacher_retention_ratio": None if kept is None else round(kept, 5),
            }
        )
    alike = [row for row in rows if row["over_the_best"]["ci95"][1] >= 0]
    chosen = max(alike, key=lambda row: row["worst_teacher_retention_ratio"] or -math.inf)
    return {"chosen": chosen["cell"], "by": RULE, "ranking": rows}


def _validation(study: Study, cell: StudyCell) -> list[TaskScores]:
    found = task_scores(study, "val", with_seeds([cell], study.settings.seeds), study.judged)
    assert found is not None  # a ranking has all of them
    return found
