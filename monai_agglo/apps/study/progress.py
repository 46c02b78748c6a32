"""How far a student of several teachers is behind the students of one teacher each, while they are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .plan import StudyCell, singles

if TYPE_CHECKING:
    from .runner import Study

__all__ = ["PARTS", "shares_of_way"]

PARTS = 5
"""Of a training, that are averaged over."""


def shares_of_way(study: Study, cell: StudyCell) -> dict[str, list[float]]:
    """The way a student has come to each teacher, as a share of what a student of that teacher alone has come by then.

    A way is how much a loss has fallen since the first point of the lone student's trace. Both students see the same
    images in the same order, so that the noise between batches is in both. A share that falls while the training goes
    on says that more steps would not close the gap; one that rises, that they might.

    Args:
        study: whose results are read.
        cell: the method, with the seed of the single students (0).

    Returns:
        By teacher, means over :data:`PARTS` equal parts of the training; only of those whose results are there.
    """
    ours = study.store.get(study.distil_key(cell))
    shares = {}
    for teacher, single in singles(study.settings, cell).items():
        alone = study.store.get(study.distil_key(single))
        if not ours or not alone or teacher not in ours["teachers"]:
            continue
        place = ours["teachers"].index(teacher)
        own, theirs = {p["step"]: p["losses"][place] for p in ours["trace"]}, alone["trace"]
        start, later = theirs[0]["losses"][0], [p for p in theirs[1:] if p["step"] in own]
        if len(later) < PARTS:
            continue
        way = np.array([[start - own[p["step"]], start - p["losses"][0]] for p in later])
        # of sums and not of single steps: at the beginning a way is hardly longer than the noise
        parts = [part.sum(0) for part in np.array_split(way, PARTS)]
        shares[teacher] = [float(mine / alones) if alones > 0 else float("nan") for mine, alones in parts]
    return shares
