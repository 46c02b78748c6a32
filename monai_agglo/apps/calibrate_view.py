"""Fit the view check of a bundle: lateral VFSS against anything else, as its network sees them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo import __version__
from monai_agglo.apps.outputs import write_json
from monai_agglo.apps.segmenter import Segmenter
from monai_agglo.apps.sources import find_cases
from monai_agglo.apps.view_check import FILE, ViewCheck, fit_view_check
from monai_agglo.apps.view_features import view_features
from monai_agglo.data import Cine, CineReadError, load_datalist, open_cine, read_cine_masks
from monai_agglo.swallow import index_of

__all__ = ["calibrate_view_check"]

logger = logging.getLogger(__name__)

SEEN = tuple(index_of(name) for name in ("c2", "c3", "c4", "c5", "c6"))
FOLDS = 4


class _Still:
    """A frame in memory, with as much of a cine as the segmenter needs."""

    def __init__(self, frame: np.ndarray) -> None:
        self.array = frame
        self.shape = (*frame.shape, 1)

    def frames(self, frames: Any = None) -> Iterator[np.ndarray]:
        yield self.array


def calibrate_view_check(
    lateral: str | os.PathLike,
    other: Sequence[str | os.PathLike],
    bundle: str | os.PathLike | None = None,
    *,
    part: str = "validation",
    frames: int = 6,
    per_source: int = 60,
    seed: int = 0,
    device: str | None = None,
    described: dict[str, str] | None = None,
    progress: bool = False,
) -> ViewCheck:
    """Fit the rule and store it in the bundle as ``configs/view_check.json``.

    Every lateral frame is used whole, and once more cut to a random part in which at least three of C2 to C6 are seen,
    so that a partial field of view does not count against a frame. The stored report comes from four-fold cross-
    validation by patient and by picture, the stored rule from all of them.

    Args:
        lateral: folder of a data set with a ``datalist.json`` and masks, lateral views only.
        other: what is not lateral VFSS: pictures, cines, or folders of them (frontal swallow views included).
        bundle: bundle folder or name; ``vfss_seg`` when None.
        part: part of the datalist; not the one that the network was trained on.
        frames: frames taken from each cine, evenly spread.
        per_source: largest number of files taken from each entry of ``other``, evenly spread.
        seed: of the random parts.
        device: torch device; a GPU when there is one when None.
        described: words about the data for the provenance, such as origin and licence.
        progress: show a progress bar.

    Returns:
        The rule, with its provenance.

    Raises:
        ValueError: when the data set or the pictures cannot be read, or there are too few.
    """
    segmenter = Segmenter(bundle, device)
    rng = np.random.default_rng(seed)
    yes: list[np.ndarray] = []
    patients: list[str] = []
    for item in _bar(load_datalist(lateral, part), progress, "lateral"):
        for frame, cut in _lateral_frames(item, frames, rng):
            for picture in (frame, cut):
                if picture is not None:
                    yes.append(_features(segmenter, picture))
                    patients.append(str(item.get("patient_id", item["image"])))
    no: list[np.ndarray] = []
    pictures: list[str] = []
    counts: dict[str, int] = {}
    for source in other:
        cases = find_cases(source)
        chosen = [cases[round(i)] for i in np.linspace(0, len(cases) - 1, min(per_source, len(cases)))]
        for case in _bar(chosen, progress, Path(source).name):
            try:
                cine = open_cine(case.paths[0] if len(case.paths) == 1 else list(case.paths), any_modality=True)
                found = [_features(segmenter, frame) for _, frame in _spread(cine, frames)]
            except CineReadError as error:
                logger.info("passed over: %s", error)
                continue
            no += found
            pictures += [case.shown] * len(found)
            counts[Path(source).name] = counts.get(Path(source).name, 0) + len(found)
    rule = fit_view_check(np.array(yes), np.array(no))
    report = _cross_validate(np.array(yes), patients, np.array(no), pictures)
    rule = ViewCheck(
        rule.mean, rule.scale, rule.weight, rule.bias, rule.threshold,
        {
            "weights_sha256": segmenter.identity()["weights_sha256"],
            "made_by": f"monai_agglo {__version__} calibrate_view_check",
            "seed": seed,
            "lateral": {"frames": len(yes), "patients": len(set(patients)), "part": part},
            "other": {"frames": len(no), "pictures": len(set(pictures)), "frames_per_source": counts},
            "cross_validation": report,
            **(described or {}),
        },
    )  # fmt: skip
    write_json(segmenter.folder / FILE, rule.to_json())
    return rule


def _bar(items: Sequence[Any], progress: bool, label: str) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc=label, disable=None if progress else True, delay=2)


def _features(segmenter: Segmenter, frame: np.ndarray) -> np.ndarray:
    still = _Still(frame)
    (result,) = segmenter.run(still, segmenter.intensity_range(still))
    return view_features(result.probabilities)


def _spread(cine: Cine, wanted: int) -> Iterator[tuple[int, np.ndarray]]:
    numbers = sorted({round(i) for i in np.linspace(0, cine.shape[2] - 1, min(wanted, cine.shape[2]))})
    yield from zip(numbers, cine.frames(numbers))


def _lateral_frames(
    item: dict[str, Any], wanted: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Frames of a labelled cine, each with a random part of it that still shows a neck."""
    cine = open_cine(item["image"])
    masks = read_cine_masks(item["label"], cine.shape) if item.get("label") else None
    for index, frame in _spread(cine, wanted):
        yield frame, None if masks is None else _part(frame, masks[..., index], rng)


def _part(frame: np.ndarray, masks: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A random window of 55 to 90 % of each side in which at least three of C2 to C6 lie nearly whole."""
    whole = masks[list(SEEN)].sum(axis=(1, 2))
    for _ in range(20):
        size = [round(side * rng.uniform(0.55, 0.9)) for side in frame.shape]
        top, left = (int(rng.integers(0, side - part + 1)) for side, part in zip(frame.shape, size))
        window = (slice(top, top + size[0]), slice(left, left + size[1]))
        inside = masks[(list(SEEN), *window)].sum(axis=(1, 2))
        if np.sum((whole > 0) & (inside >= 0.8 * whole)) >= 3:
            return frame[window]
    return None


def _cross_validate(yes: np.ndarray, patients: list[str], no: np.ndarray, pictures: list[str]) -> dict[str, Any]:
    """Scores of frames whose patient or picture the rule did not see."""
    groups = [
        {name: number % FOLDS for number, name in enumerate(sorted(set(names)))} for names in (patients, pictures)
    ]
    if min(len(group) for group in groups) < FOLDS:
        return {"folds": 0}
    folds_yes = np.array([groups[0][name] for name in patients])
    folds_no = np.array([groups[1][name] for name in pictures])
    kept, caught = [], []
    for fold in range(FOLDS):
        rule = fit_view_check(yes[folds_yes != fold], no[folds_no != fold])
        kept += (rule.score(yes[folds_yes == fold]) >= rule.threshold).tolist()
        caught += (rule.score(no[folds_no == fold]) < rule.threshold).tolist()
    return {
        "folds": FOLDS,
        "lateral_frames_flagged_pct": round(100 * (1 - float(np.mean(kept))), 2),
        "other_frames_flagged_pct": round(100 * float(np.mean(caught)), 2),
    }
