"""Overlap of bolus and airway: candidate frames for review and their depth, without a penetration-aspiration score.

A lateral view projects the pyriform sinuses and the pharynx onto the larynx, so every overlap is only a candidate.
Frames are not filtered over time: seven of ten children showed deep penetration in a single frame (Clin Radiol 2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .region import Region
from .scale import Scale

__all__ = ["LEVELS", "NO_SCORE", "AirwayFlags", "airway_flags"]

LEVELS = ("none", "airway, level not known", "above the vocal folds", "at the vocal folds", "below the vocal folds")
NO_SCORE = (
    "Overlap of bolus and airway is a candidate for review. No penetration-aspiration score is computed: it depends on "
    "the patient's response and is a clinician's decision."
)


@dataclass(frozen=True)
class AirwayFlags:
    """Overlap of bolus and airway per frame.

    Args:
        overlap_px: (T,) number of bolus pixels in the airway.
        flagged: (T,) bool, frames for review.
        level: (T,) index into :data:`LEVELS`; 0 in unflagged frames.
        depth: (T,) depth of the lowest overlapping pixel below the upper end of the airway, in C2-C4 (pixels without a
            scale); nan in unflagged frames.
    """

    overlap_px: np.ndarray
    flagged: np.ndarray
    level: np.ndarray
    depth: np.ndarray

    def deepest(self, frames: slice) -> str:
        """Name of the deepest level in a range of frames."""
        part = self.level[frames]
        return LEVELS[int(part.max())] if len(part) else LEVELS[0]


def airway_flags(
    bolus: Region,
    airway: np.ndarray,
    folds: Region | None,
    scale: Scale,
    least_pct: float = 0.1,
) -> AirwayFlags:
    """Flag frames with bolus over the airway.

    Definition: o(t) = |B_t and A_t|, flagged if 100 * o(t) / L^2 >= ``least_pct`` (10 pixels if L is unknown). The
    level of a frame is the level of its lowest overlapping pixel relative to the labelled vocal folds.

    Args:
        bolus: all contrast agent.
        airway: (H, W, T) mask of trachea and laryngeal vestibule.
        folds: vocal folds, None if not labelled.
        scale: scale of the cine.
        least_pct: smallest flagged overlap, %(C2-4)^2.

    Returns:
        The flags.
    """
    frames = bolus.frames
    over = bolus.select(bolus.inside(airway))
    overlap = over.areas
    least = least_pct / 100 * scale.length_px**2 if scale.known else 10.0
    flagged = overlap >= max(least, 1)
    level = flagged.astype(int)
    depth = np.full(frames, np.nan)
    unit = scale.length_px if scale.known else 1.0
    down = scale.inferior if scale.known else np.tile([0.0, 1.0], (frames, 1))
    way = Region.of(airway)
    top = way.reduce((way.points * down[way.t]).sum(axis=1), np.minimum)
    low = over.reduce((over.points * down[over.t]).sum(axis=1), np.maximum)
    depth[flagged] = (low - top)[flagged] / unit
    if folds is not None and folds.areas.any():
        along = (folds.points * down[folds.t]).sum(axis=1)
        upper, lower = folds.reduce(along, np.minimum), folds.reduce(along, np.maximum)
        known = flagged & (folds.areas > 0)
        level = np.where(known, 2 + (low >= upper).astype(int) + (low > lower), level)
    return AirwayFlags(overlap, flagged, level, depth)
