"""Suite: loss of Dice per runtime and precision on synthetic patients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .context import Context
from .files import phantom_frames
from .interleave import Candidate, measure_interleaved
from .our_runtimes import SETTINGS, MemoryCine, open_segmenter
from .worker import Case

__all__ = ["WHAT", "make_scores", "precision"]

WHAT = (
    "The same frames of synthetic patients segmented in every runtime and precision, as predict does it; Dice as "
    "in the evaluation. Changed pixels: of the frame, all structures together, against PyTorch fp32."
)
FIRST_SEED = 61_500


def precision(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``rows`` with ``dice``, ``dice_loss_points`` (percentage points lost against PyTorch fp32) and
        ``changed_pixels_pct``; the number of ``patients`` and ``frames_each``, and the first ``seed``.
    """
    patients, frames, size = context.pick((6, 6, 512), (1, 2, 64))
    settings = context.pick(SETTINGS, SETTINGS[:2])
    for number in range(patients):
        phantom_frames(context.work, frames, size, FIRST_SEED + number)
    make = f"{__name__}:{make_scores.__name__}"
    rows: list[dict[str, Any]] = []
    plain: dict[str, Any] = {}
    for runtime, kind in settings:
        options = {"runtime": runtime, "precision": kind, "work": str(context.work), "patients": patients}
        options |= {"frames": frames, "size": size}
        (row,) = measure_interleaved(
            [Candidate(f"{runtime} {kind}", make, options, repeats=1)], context.left, context.log
        )
        found = dict(row.repeats[0]["found"]) if row.repeats else {"reason": row.summary()["reason"]}
        rows.append({"runtime": runtime, "precision": kind, **found})
        if (runtime, kind) == SETTINGS[0]:
            plain = found
        if "dice" in plain and "dice" in found:
            rows[-1]["dice_loss_points"] = 100 * (plain["dice"] - found["dice"])
            rows[-1]["changed_pixels_pct"] = _changed(found["packed"], plain["packed"])
        rows[-1].pop("packed", None)
    return {"what": WHAT, "rows": rows, "patients": patients, "frames_each": frames, "seed": FIRST_SEED, "size": size}


def _changed(packed: str, reference: str) -> float:
    """Differing bits in %."""
    one, other = (np.unpackbits(np.load(path)) for path in (packed, reference))
    return 100 * float(np.count_nonzero(one != other)) / len(one)


def make_scores(runtime: str, precision: str, work: str, patients: int, frames: int, size: int) -> dict[str, Case]:
    """One case that segments the patients and scores them.

    Args:
        runtime: as in ``predict``.
        precision: as in ``predict``.
        work: folder of the synthetic cines; also for the masks.
        patients: number of patients.
        frames: frames per patient.
        size: rows and columns.

    Returns:
        The case, with ``dice`` and ``packed``, a file of the masks.
    """
    from pathlib import Path

    segmenter = open_segmenter(runtime, precision, size if size < 512 else None)

    def score() -> dict[str, Any]:
        from monai_agglo.files import atomic_path
        from monai_agglo.metrics import StructureScores

        scores, all_masks = StructureScores(), []
        for number in range(patients):
            images, truth = phantom_frames(Path(work), frames, size, FIRST_SEED + number)
            cine: Any = MemoryCine(images)
            limits = segmenter.intensity_range(cine)
            masks = np.stack([item.masks for item in segmenter.run(cine, limits)])
            scores.add(str(number), masks.transpose(1, 2, 3, 0), truth.transpose(1, 2, 3, 0).astype(np.uint8))
            all_masks.append(np.packbits(masks))
        path = Path(work) / f"masks_{runtime}_{precision}_{size}.npy"
        with atomic_path(path) as partial, open(partial, "wb") as stream:
            np.save(stream, np.concatenate(all_masks))
        return {"dice": scores.report()["mean_dice"], "packed": str(path)}

    return {"dice": Case(score, patients * frames, 1, once=True)}
