"""Bolus over the airway: frames to be looked at, and how deep. Never smoothed, never a penetration-aspiration score.

A lateral view projects the pyriform sinuses and the pharynx over the larynx, so every overlap is a candidate only. In
seven of ten children with deep penetration it showed in one single frame (Clin Radiol 2009): no frame is filtered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .region import Region
from .scale import Scale

__all__ = ["LEVELS", "NO_SCORE", "AirwayFlags", "airway_flags"]

LEVELS = ("none", "airway, level not known", "above the vocal folds", "at the vocal folds", "below the vocal folds")
NO_SCORE = (
    "Overlap of bolus and airway is a candidate for review. No penetration-aspiration score is computed: it needs the "
    "response of the patient and is a clinician's decision."
)


@dataclass(frozen=True)
class AirwayFlags:
    """Bolus over the airway, frame by frame.

    Args:
        overlap_px: (T,) pixels of bolus within the airway.
        flagged: (T,) bool, frames to be reviewed.
        level: (T,) index into :data:`LEVELS`; 0 in frames that are not flagged.
        depth: (T,) how far the deepest of these pixels lies below the upper end of the airway, in C2-C4 (pixels where
            there is no scale); nan in frames that are not flagged.
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
    """Flag frames in which the bolus lies over the airway.

    Definition: o(t) = |B_t and A_t|, flagged where 100 * o(t) / L^2 >= ``least_pct`` (10 pixels where L is not known).
    The level of a frame is that of its deepest overlapping pixel against the labelled vocal folds.

    Args:
        bolus: all contrast agent.
        airway: (H, W, T): trachea and laryngeal vestibule.
        folds: vocal folds, None when not labelled.
        scale: of the cine.
        least_pct: smallest overlap that is flagged, %(C2-4)^2; a user may lower it.

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
