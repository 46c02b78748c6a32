"""Dice, surface distance and false positives per structure and frame, and their mean over patients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import cv2
import numpy as np

from monai_agglo.swallow import TARGET_NAMES

__all__ = ["DICE_IS", "StructureScores", "dice_per_frame", "hd95_px", "mean_interval", "patient_means"]

DICE_IS = (
    "mean over frames where the structure is present, per patient, then over patients, then over structures; fractions"
)

UNLABELLED = 255


def dice_per_frame(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice coefficient of every structure in every frame.

    Args:
        predicted: bool (S, H, W, T).
        truth: uint8 (S, H, W, T) of 0, 1 and 255 for not labelled.

    Returns:
        (S, T) fractions; NaN where the structure is absent or unlabelled.
    """
    true = truth == 1
    shared = np.count_nonzero(predicted & true, axis=(1, 2))
    area = np.count_nonzero(true, axis=(1, 2))
    both = np.count_nonzero(predicted, axis=(1, 2)) + area
    return np.where(area > 0, 2 * shared / np.maximum(both, 1), np.nan)


def hd95_px(predicted: np.ndarray, truth: np.ndarray) -> float:
    """HD95: 95th percentile of the distances between two outlines, the larger of both directions.

    Args:
        predicted: bool (H, W).
        truth: bool (H, W).

    Returns:
        Pixels (between pixel centres); NaN if one of the masks is empty.
    """
    either = predicted | truth
    if not predicted.any() or not truth.any():
        return float("nan")
    # The joint bounding box gives exact distances at lower cost.
    rows, cols = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    edges = [_outline(mask[box]) for mask in (predicted, truth)]
    worst = 0.0
    for one, other in (edges, edges[::-1]):
        distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        worst = max(worst, float(np.percentile(distance[one], 95)))
    return worst


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a 4-neighbour outside; the exterior of the array counts as outside."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def patient_means(values: Sequence[np.ndarray], patients: Sequence[str]) -> np.ndarray:
    """Mean over the frames of each patient, ignoring NaN.

    Args:
        values: per cine an array (S, T), NaN for missing values.
        patients: patient of each cine.

    Returns:
        (P, S) means, patients in the order of their ids; NaN for a structure without any value.
    """
    means = []
    for patient in sorted(set(patients)):
        own = np.concatenate([v for v, p in zip(values, patients) if p == patient], axis=1)
        means.append(_mean(own, axis=1))
    return np.stack(means)


def mean_interval(means: np.ndarray, draws: int = 2000, seed: int = 0) -> tuple[float, float] | None:
    """95 % bootstrap confidence interval (over patients) of the mean over patients, then over structures.

    Args:
        means: (P, S) of each patient, NaN for missing values.
        draws: number of bootstrap samples.
        seed: random seed of the bootstrap.

    Returns:
        Lower and upper limit; None with fewer than two patients, or without any value.
    """
    if len(means) < 2 or np.isnan(means).all():
        return None
    drawn = np.random.default_rng(seed).integers(len(means), size=(draws, len(means)))
    times = np.stack([np.bincount(patients, minlength=len(means)) for patients in drawn])
    with np.errstate(invalid="ignore"):  # NaN for a structure absent from all sampled patients
        structures = (times @ np.nan_to_num(means)) / (times @ ~np.isnan(means))
    low, high = np.nanpercentile(_mean(structures, axis=1), [2.5, 97.5])
    return float(low), float(high)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean without NaN; NaN for an empty slice."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=axis)


class StructureScores:
    """Collects the scores of cines and reports them per structure.

    Args:
        names: structures in channel order.
        surface: also compute HD95, a few milliseconds per frame.
    """

    def __init__(self, names: Sequence[str] = TARGET_NAMES, surface: bool = False) -> None:
        self.names = list(names)
        self.surface = surface
        self.rows: list[dict] = []

    def add(self, patient: str, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Score one cine.

        Args:
            patient: pseudonymous id.
            predicted: bool (S, H, W, T).
            truth: uint8 (S, H, W, T) of 0, 1, 255.

        Raises:
            ValueError: if the shapes differ.
        """
        predicted, truth = np.asarray(predicted) > 0, np.asarray(truth)
        if predicted.shape != truth.shape or len(truth) != len(self.names):
            raise ValueError(
                f"masks of shape {predicted.shape} and {truth.shape} for {len(self.names)} structures do not compare"
            )
        dice = dice_per_frame(predicted, truth)
        labelled = truth[:, 0, 0, :] != UNLABELLED
        area = np.count_nonzero(predicted, axis=(1, 2)) / (truth.shape[1] * truth.shape[2])
        row = {
            "patient": str(patient),
            "dice": dice,
            "false_positive_area": np.where(labelled & np.isnan(dice), area, np.nan),
            "missed": np.where(np.isnan(dice), np.nan, area == 0),
        }
        if self.surface:
            row["hd95_px"] = np.array(
                [
                    [
                        np.nan if np.isnan(dice[s, t]) else hd95_px(predicted[s, :, :, t], truth[s, :, :, t] == 1)
                        for t in range(truth.shape[3])
                    ]
                    for s in range(len(truth))
                ]
            )
        self.rows.append(row)

    def report(self) -> dict:
        """Scores over all cines so far.

        Returns:
            ``mean_dice``, ``mean_dice_ci95`` (see :func:`mean_interval`), ``dice_is``, ``patients``,
            ``false_positive_area_pct`` (mean over structures) and ``per_structure``: for each structure ``dice``
            (fraction), ``hd95_px`` (None when not computed), ``frames`` (where it is present), ``missed_frames``
            (present but not predicted; Dice 0, no HD95), ``false_positive_area_pct``
            (predicted area in % of frame, mean over the frames without the structure). None where not measurable.
        """
        patients = [row["patient"] for row in self.rows]
        keys = ["dice", "false_positive_area"] + (["hd95_px"] if self.surface else [])
        by_patient = (
            {key: patient_means([row[key] for row in self.rows], patients) for key in keys} if self.rows else {}
        )
        means = {key: _mean(values, axis=0) for key, values in by_patient.items()}
        per_structure = {}
        for s, name in enumerate(self.names):
            dice = np.concatenate([row["dice"][s] for row in self.rows]) if self.rows else np.zeros(0)
            per_structure[name] = {
                "dice": _number(means["dice"][s]) if means else None,
                "hd95_px": _number(means["hd95_px"][s]) if "hd95_px" in means else None,
                "frames": int(np.count_nonzero(~np.isnan(dice))),
                "missed_frames": int(sum(np.nansum(row["missed"][s]) for row in self.rows)),
                "false_positive_area_pct": _number(100 * means["false_positive_area"][s]) if means else None,
            }
        scored = [row["dice"] for row in per_structure.values() if row["dice"] is not None]
        spilled = [row["false_positive_area_pct"] for row in per_structure.values()]
        spilled = [value for value in spilled if value is not None]
        return {
            "patients": len(set(patients)),
            "mean_dice": float(np.mean(scored)) if scored else None,
            "mean_dice_ci95": mean_interval(by_patient["dice"]) if by_patient else None,
            "dice_is": DICE_IS,
            "false_positive_area_pct": float(np.mean(spilled)) if spilled else None,
            "per_structure": per_structure,
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
