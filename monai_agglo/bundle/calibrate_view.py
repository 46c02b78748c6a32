"""Fit the view check of a bundle: lateral VFSS against all other images, on features of its network."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo import __version__
from monai_agglo.cine.cine import Cine, open_cine
from monai_agglo.cine.errors import CineReadError
from monai_agglo.cine.masks import pack_masks, read_cine_masks, unpack_masks
from monai_agglo.cine.search import find_cases
from monai_agglo.data import load_datalist
from monai_agglo.data.augment_fluoroscopy import RandFluoroscopyd
from monai_agglo.data.augment_geometry import RandCineGeometryd
from monai_agglo.files import write_json
from monai_agglo.phantom import PhantomSpec, PhantomStudy
from monai_agglo.pictures.drawing import to_grey8
from monai_agglo.prediction.segmenter import Segmenter
from monai_agglo.prediction.view_check import FILE, ViewCheck, fit_view_check
from monai_agglo.prediction.view_features import view_features
from monai_agglo.swallow import index_of

from .synthetic_negatives import other_pictures

__all__ = ["calibrate_view_check"]

logger = logging.getLogger(__name__)

SEEN = tuple(index_of(name) for name in ("c2", "c3", "c4", "c5", "c6"))
FOLDS = 4
PARTS = ("training", "validation", "test")


def calibrate_view_check(
    lateral: str | os.PathLike,
    other: Sequence[str | os.PathLike] = (),
    bundle: str | os.PathLike | None = None,
    *,
    part: str = "validation",
    frames: int = 4,
    drawn: int = 160,
    frontal: int = 40,
    per_source: int = 60,
    seed: int = 0,
    device: str | None = None,
    described: dict[str, str] | None = None,
    progress: bool = False,
) -> ViewCheck:
    """Fit the rule and store it in the bundle as ``configs/view_check.json``.

    Negatives are synthetic (:mod:`.synthetic_negatives`) plus frontal views of the phantom, so that no external images
    are needed; ``other`` adds real ones. Every lateral frame is used whole, randomly cropped, and degraded: rotated,
    scaled, and changed in tone, sharpness, noise and field as in training. At least three of C2 to C6 stay in view, so
    that partial fields and poor images remain positives. Negatives are used unchanged and degraded. The stored report
    is from four-fold cross-validation by patient and by image, the stored rule is fitted on all images.

    Args:
        lateral: folder of a data set with a ``datalist.json`` and masks, lateral views only.
        other: additional negatives: images, cines, or folders of them.
        bundle: bundle folder or name; ``vfss_seg`` if None.
        part: part of the datalist, or ``all``; must not contain training cases of the network.
        frames: number of evenly spread frames per cine.
        drawn: number of synthetic negatives.
        frontal: number of frontal phantom studies, two frames each.
        per_source: maximum number of evenly spread files per entry of ``other``.
        seed: random seed.
        device: torch device; a GPU, if available, if None.
        described: description of the data for the provenance, such as origin and licence.
        progress: show a progress bar.

    Returns:
        The rule, with its provenance.

    Raises:
        ValueError: if the data set or images cannot be read, or are too few.
    """
    segmenter = Segmenter(bundle, device)
    wear = _Wear(seed, segmenter.size)
    yes: list[np.ndarray] = []
    patients: list[str] = []
    ways: list[str] = []
    parts = PARTS if part == "all" else (part,)
    items = [item for name in parts for item in load_datalist(lateral, name, optional=part == "all")]
    for item in _bar(items, progress, "lateral"):
        for way, image in _lateral_images(item, frames, wear):
            yes.append(_features(segmenter, image))
            ways.append(way)
            patients.append(str(item.get("patient_id", item["image"])))
    no: list[np.ndarray] = []
    pictures: list[str] = []
    kinds: list[str] = []

    def refuse(kind: str, name: str, frame: np.ndarray) -> None:
        for image in (frame, wear(frame, None)):
            if image is not None:
                no.append(_features(segmenter, image))
                pictures.append(name)
                kinds.append(kind)

    for number, (kind, frame) in enumerate(_bar(list(other_pictures(drawn, seed)), progress, "drawn")):
        refuse(f"drawn {kind}", f"drawn {number}", frame)
    for number in _bar(range(frontal), progress, "frontal phantom"):
        for frame in _frontal_frames(seed + number):
            refuse("frontal phantom", f"frontal {number}", frame)
    for source in other:
        cases = find_cases(source)
        chosen = [cases[round(i)] for i in np.linspace(0, len(cases) - 1, min(per_source, len(cases)))]
        for case in _bar(chosen, progress, Path(source).name):
            try:
                cine = open_cine(case.paths[0] if len(case.paths) == 1 else list(case.paths), any_modality=True)
                for _, frame in _spread(cine, frames):
                    refuse(Path(source).name, case.shown, frame)
            except CineReadError as error:
                logger.info("passed over: %s", error)
    rule = fit_view_check(np.array(yes), np.array(no))
    report = _cross_validate(np.array(yes), patients, ways, np.array(no), pictures, kinds)
    rule = ViewCheck(
        rule.mean, rule.scale, rule.weight, rule.bias, rule.threshold,
        {
            "weights_sha256": segmenter.identity()["weights_sha256"],
            "made_by": f"monai_agglo {__version__} calibrate_view_check",
            "seed": seed,
            "lateral": {"frames": len(yes), "patients": len(set(patients)), "part": part},
            "other": {"frames": len(no), "pictures": len(set(pictures)), "frames_per_kind": dict(Counter(kinds))},
            "cross_validation": report,
            **(described or {}),
        },
    )  # fmt: skip
    write_json(segmenter.folder / FILE, rule.to_json())
    return rule


def _frontal_frames(seed: int) -> Iterator[np.ndarray]:
    """Two frames of a frontal study of the phantom."""
    study = PhantomStudy(PhantomSpec.sample(seed, view="ap"))
    total = len(study.frame_times_ms)
    for index in (total // 4, (2 * total) // 3):
        yield study.frame(index)[0]


def _bar(items: Sequence[Any], progress: bool, label: str) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc=label, disable=None if progress else True, delay=2)


def _features(segmenter: Segmenter, frame: np.ndarray) -> np.ndarray:
    (result,) = segmenter.segment_window([frame], segmenter.intensity_range([frame]))
    return view_features(result.probabilities)


def _spread(cine: Cine, wanted: int) -> Iterator[tuple[int, np.ndarray]]:
    numbers = sorted({round(i) for i in np.linspace(0, cine.shape[2] - 1, min(wanted, cine.shape[2]))})
    yield from zip(numbers, cine.frames(numbers))


def _lateral_images(item: dict[str, Any], wanted: int, wear: _Wear) -> Iterator[tuple[str, np.ndarray]]:
    """Frames of a labelled cine: whole, cropped and degraded, with the neck in view."""
    cine = open_cine(item["image"])
    masks = read_cine_masks(item["label"], cine.shape)
    for index, frame in _spread(cine, wanted):
        yield "whole", frame
        for way, image in (("part", wear.part(frame, masks[..., index])), ("worn", wear(frame, masks[..., index]))):
            if image is not None:
                yield way, image


class _Wear:
    """Random degradation that keeps an image recognisable to a reader."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.geometry, self.tone = RandCineGeometryd(size=size), RandFluoroscopyd()
        self.geometry.set_random_state(seed=seed)
        self.tone.set_random_state(seed=seed)

    def __call__(self, frame: np.ndarray, masks: np.ndarray | None) -> np.ndarray | None:
        """The degraded frame (H, W); None if the neck (masks (S, H, W), if given) leaves the view."""
        packed = {"image": to_grey8(frame)[None]}
        if masks is not None:
            packed["label"] = pack_masks(masks)[None]
        for _ in range(5):
            moved = self.geometry(dict(packed))
            if masks is None or self._in_view(unpack_masks(moved["label"][0], len(masks))):
                return np.asarray(self.tone(moved)["image"])[0]
        return None

    def part(self, frame: np.ndarray, masks: np.ndarray) -> np.ndarray | None:
        """A random window of 55 to 90 % of each side; None if the neck leaves the view."""
        for _ in range(20):
            size = [round(side * self.rng.uniform(0.55, 0.9)) for side in frame.shape]
            top, left = (int(self.rng.integers(0, side - part + 1)) for side, part in zip(frame.shape, size))
            window = (slice(top, top + size[0]), slice(left, left + size[1]))
            if self._in_view(masks[(slice(None), *window)]):
                return frame[window]
        return None

    @staticmethod
    def _in_view(masks: np.ndarray) -> bool:
        """Whether three of C2 to C6 are present and clear of the edge."""
        column = masks[list(SEEN)] != 0
        edge = column[:, [0, -1]].any(axis=(1, 2)) | column[:, :, [0, -1]].any(axis=(1, 2))
        return bool(np.sum(column.any(axis=(1, 2)) & ~edge) >= 3)


def _cross_validate(
    yes: np.ndarray, patients: list[str], ways: list[str], no: np.ndarray, pictures: list[str], kinds: list[str]
) -> dict[str, Any]:
    """Flagged frames in %, by cross-validated rules (held-out patient or image)."""
    flagged: dict[str, list[bool]] = {}
    groups = [{name: i % FOLDS for i, name in enumerate(sorted(set(names)))} for names in (patients, pictures)]
    if min(len(group) for group in groups) < FOLDS:
        return {"folds": 0}
    folds_yes = np.array([groups[0][name] for name in patients])
    folds_no = np.array([groups[1][name] for name in pictures])
    for fold in range(FOLDS):
        rule = fit_view_check(yes[folds_yes != fold], no[folds_no != fold])
        for features, folds, names, all_of in ((yes, folds_yes, ways, "lateral"), (no, folds_no, kinds, "other")):
            for i in np.flatnonzero(folds == fold):
                low = bool(rule.score(features[i]) < rule.threshold)
                for name in (all_of, f"{all_of}: {names[i]}"):
                    flagged.setdefault(name, []).append(low)
    percent = {name: round(100 * float(np.mean(flagged[name])), 2) for name in sorted(flagged)}
    return {"folds": FOLDS, "frames_flagged_pct": percent}
