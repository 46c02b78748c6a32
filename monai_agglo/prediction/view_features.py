"""Features of the segmentation that tell lateral VFSS frames from other images.

The network was trained on lateral swallow studies only. On such a frame it finds a column of vertebrae in the right
order, of similar size and distance, with the jaw and the airway on one side of it, and it is sure of what it finds. On
other pictures it finds fragments. No second network is needed to see the difference.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from monai_agglo.swallow import TARGET_NAMES, index_of

__all__ = ["FEATURES", "WORDS", "facing", "view_features"]

WORDS = {
    "vertebrae": "too few neck vertebrae are found",
    "order": "the vertebrae found are not in order from top to bottom",
    "upright": "the column of vertebrae does not run downwards",
    "straightness": "the vertebrae do not form a column",
    "spacing": "the vertebrae are not evenly spaced",
    "size": "the vertebrae differ too much in size",
    "scale": "the structures are too small or too large for a neck",
    "whole": "the structures found are in fragments",
    "sure": "the network is unsure of what it found",
    "evidence": "hardly any structure is found",
    "overlap": "vertebrae lie on top of each other",
    "jaw": "no jaw in front of the spine",
    "airway": "no airway or pharynx in front of the spine",
    "blur": "the outlines found are vague",
}
"""Feature name -> reason shown when this feature speaks most against a lateral view."""
FEATURES = tuple(WORDS)
COLUMN = [index_of(name) for name in ("c2", "c3", "c4", "c5", "c6", "c7")]
MANDIBLE = index_of("mandible")
FRONT = [index_of(name) for name in ("epiglottis", "trachea", "pharynx")]
SMALL = 0.0008
"""Fraction of the frame below which a structure does not count as found."""


def view_features(probabilities: np.ndarray) -> np.ndarray:
    """Describe one frame.

    Args:
        probabilities: (12, h, w) in 0..1, targets in table order; 64 to 256 pixels are enough.

    Returns:
        Values in the order of :data:`FEATURES`, finite, of the order of one; each grows with the likeness.

    Raises:
        ValueError: when the number of channels is not that of the targets.
    """
    if len(probabilities) != len(TARGET_NAMES):
        raise ValueError(f"{len(probabilities)} channels where {len(TARGET_NAMES)} are expected")
    masks = probabilities > 0.5
    frame = masks[0].size
    areas = masks.sum(axis=(1, 2)) / frame
    found = [i for i in COLUMN if areas[i] > SMALL]
    center = {i: _center(masks[i]) for i in range(len(masks)) if areas[i] > SMALL}
    points = np.array([center[i] for i in found]).reshape(-1, 2)
    # Steps between neighbours in the table only: a gap of one vertebra is no fault.
    pairs = [(center[a], center[b]) for a, b in pairwise(COLUMN) if a in center and b in center]
    steps = np.array([np.subtract(b, a) for a, b in pairs]).reshape(-1, 2)
    lengths = np.linalg.norm(steps, axis=1)
    axis, straight, span = _axis(points)

    values = dict.fromkeys(FEATURES, 0.0)
    values["vertebrae"] = len(found) / len(COLUMN)
    values["order"] = float(np.mean(steps @ axis > 0)) if len(steps) else 0.0
    values["upright"] = float(axis[0]) if len(found) >= 2 else 0.0
    values["straightness"] = straight
    values["spacing"] = _evenness(lengths)
    values["size"] = _evenness(np.sqrt([areas[i] for i in found]))
    # A vertebra fills 0.5 to 6 % of a frame at the magnifications in use; beyond that the doubt grows.
    factor = abs(np.log(np.median([areas[i] for i in found]) / 0.018)) if found else 4.0
    values["scale"] = -float(min(3.0, max(0.0, factor - 1.25)))
    values["whole"] = float(np.mean([_largest(masks[i]) for i in center])) if center else 0.0
    values["sure"] = (
        float(np.mean([np.abs(2 * probabilities[i][masks[i]] - 1).mean() for i in center])) if center else 0.0
    )
    values["evidence"] = float(np.mean([probabilities[i].max() for i in COLUMN]))
    column = masks[COLUMN]
    values["overlap"] = -float((column.sum(axis=0) > 1).sum() / max(1, column.any(axis=0).sum()))
    if len(found) >= 2 and span > 0:
        side = np.array([-axis[1], axis[0]])
        middle = points.mean(axis=0)
        offset = {i: float((center[i] - middle) @ side) / span for i in center}
        if MANDIBLE in offset:
            values["jaw"] = min(1.0, abs(offset[MANDIBLE]))
        front = [offset[i] for i in FRONT if i in offset]
        if front:
            sign = np.sign(offset.get(MANDIBLE, np.sum(front)))
            values["airway"] = float(np.mean([np.clip(4 * sign * f, -1, 1) for f in front])) * len(front) / len(FRONT)
    vague = ((probabilities > 0.1) & (probabilities < 0.9)).any(axis=0).sum()
    values["blur"] = -float(vague / max(1, (probabilities > 0.1).any(axis=0).sum()))
    return np.array([values[name] for name in FEATURES])


def facing(probabilities: np.ndarray) -> str | None:
    """Direction that the patient faces in the image.

    Args:
        probabilities: (12, h, w) in 0..1.

    Returns:
        ``"left"`` or ``"right"`` (of the picture), None when spine, or jaw and airway, are not found.
    """
    masks = probabilities > 0.5
    smallest = SMALL * masks[0].size
    spine = [_center(masks[i])[1] for i in COLUMN if masks[i].sum() > smallest]
    # The jaw lies far in front of the spine; the airway only just, so it votes where the jaw is out of the field.
    front = [_center(masks[i])[1] for i in (MANDIBLE, *FRONT[:2]) if masks[i].sum() > smallest]
    if not spine or not front or front[0] == np.median(spine):
        return None
    return "left" if front[0] < np.median(spine) else "right"


def _center(mask: np.ndarray) -> np.ndarray:
    across, down = mask.sum(axis=0), mask.sum(axis=1)
    total = max(1, down.sum())
    return np.array([down @ np.arange(len(down)), across @ np.arange(len(across))]) / total


def _axis(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Direction from the first to the last point (row, column), how straight they lie (0..1), and the distance."""
    if len(points) < 2:
        return np.array([1.0, 0.0]), 0.0, 0.0
    ends = points[-1] - points[0]
    span = float(np.linalg.norm(ends))
    axis = ends / span if span else np.array([1.0, 0.0])
    if len(points) < 3:
        return axis, 0.5, span
    # Distances from the chord; a neck bends by up to a fifth of its length.
    away = np.abs((points - points[0]) @ np.array([-axis[1], axis[0]]))
    return axis, float(np.exp(-((away.max() / max(span, 1e-6)) ** 2) / 0.1)), span


def _evenness(values: np.ndarray) -> float:
    """1 for equal positive values, towards 0 as they scatter; one half when there are too few to say."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return 0.5 if len(values) else 0.0
    return float(np.exp(-2 * values.std() / max(values.mean(), 1e-6)))


def _largest(mask: np.ndarray) -> float:
    """Part of a mask that lies in its largest piece."""
    found, _, facts, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    return float(facts[1:, cv2.CC_STAT_AREA].max() / facts[1:, cv2.CC_STAT_AREA].sum()) if found > 1 else 0.0
