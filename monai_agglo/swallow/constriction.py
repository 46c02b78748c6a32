"""Pharyngeal area at rest and at maximal constriction, constriction ratio, and UES width."""

from __future__ import annotations

import numpy as np

from .landmarks import principal_axis
from .region import Region

__all__ = ["constriction_ratio", "frame_of_constriction", "frames_of_hold", "pharyngeal_area", "ues_width"]


def pharyngeal_area(pharynx: Region, bolus: Region | None = None, pharyngeal_bolus: Region | None = None) -> np.ndarray:
    """Area of the pharynx including the bolus in it (unobliterated area).

    Overlapping masks include the bolus already. Without any overlap (flattened label map) the area of the pharyngeal
    bolus is added.

    Args:
        pharynx: region of the pharynx.
        bolus: all contrast agent, or None.
        pharyngeal_bolus: contrast agent in the pharynx, or None.

    Returns:
        (T,) pixels; nan in frames without pharynx.
    """
    area = pharynx.areas.astype(float)
    if bolus is not None and pharyngeal_bolus is not None and len(bolus.t) and len(pharynx.t):
        codes = [((r.t * r.shape[0] + r.points[:, 1]) * r.shape[1] + r.points[:, 0]) for r in (pharynx, bolus)]
        if not np.isin(codes[1], codes[0]).any():
            area += pharyngeal_bolus.areas
    area[pharynx.areas == 0] = np.nan
    return area


def frame_of_constriction(area: np.ndarray, start: int, stop: int) -> int | None:
    """Frame with the smallest pharyngeal area.

    Args:
        area: (T,) pharyngeal area.
        start: first frame of the range (bolus passes mandible).
        stop: frame after the last of the range (swallow rest).

    Returns:
        The first frame with the smallest area, None if no frame shows the pharynx.
    """
    part = area[start:stop]
    return start + int(np.nanargmin(part)) if np.isfinite(part).any() else None


def frames_of_hold(start: int, moves: int) -> slice:
    """Frames before a swallow in which the bolus is held or the pharynx is at rest.

    Args:
        start: first frame of the swallow.
        moves: frame of the first motion.

    Returns:
        The second half of the frames between, at least one; the pharynx has then settled from the previous swallow.
    """
    moves = max(moves, start + 1)
    return slice(start + (moves - start) // 2, moves)


def constriction_ratio(at_constriction: float, at_hold: float) -> float:
    """Pharyngeal constriction ratio, PCR = area at maximal constriction / area at bolus hold (Leonard).

    Args:
        at_constriction: pharyngeal area at maximal constriction.
        at_hold: pharyngeal area at bolus hold, in the same unit.

    Returns:
        The ratio; nan if the area at hold is not positive.
    """
    return at_constriction / at_hold if at_hold > 0 else float("nan")


def ues_width(ues: Region) -> np.ndarray:
    """Width of the UES across the flow.

    Definition: area / length - 1 over the middle half of the mask along its long axis: the distance between the centres
    of the first and last pixel, as for C2-C4.

    Args:
        ues: region of the UES, (x, y) pixels.

    Returns:
        (T,) pixels; nan in frames without UES.
    """
    if not len(ues.t):
        return np.full(ues.frames, np.nan)
    axis = principal_axis(ues)
    along = ((ues.points - ues.centroids[ues.t]) * axis[ues.t]).sum(axis=1)
    low, high = ues.reduce(along, np.minimum), ues.reduce(along, np.maximum)
    length = high - low + 1  # includes both end pixels
    middle = ues.select(abs(along - ((low + high) / 2)[ues.t]) <= (length / 4)[ues.t])
    return np.where(ues.areas > 0, np.maximum(middle.areas / (length / 2) - 1, 0), np.nan)
