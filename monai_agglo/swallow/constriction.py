"""Pharyngeal area: at rest, at maximal constriction, and their ratio."""

from __future__ import annotations

import numpy as np

from .region import Region

__all__ = ["constriction_ratio", "frame_of_constriction", "frames_of_hold", "pharyngeal_area", "ues_width"]


def pharyngeal_area(pharynx: Region, bolus: Region | None = None, pharyngeal_bolus: Region | None = None) -> np.ndarray:
    """Area of the pharynx including the bolus in it (the unobliterated area).

    Masks that overlap hold the bolus within the pharynx already. Where the two never overlap (a flattened label map:
    the bolus has taken its pixels), the bolus in the pharynx is added.

    Args:
        pharynx: its region.
        bolus: all contrast agent; None leaves it out.
        pharyngeal_bolus: the part of it in the pharynx.

    Returns:
        (T,) pixels; nan where the pharynx is not seen.
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
        start, stop: range of frames: from the bolus passing the mandible to swallow rest.

    Returns:
        The first frame with the smallest area, None when no frame shows the pharynx.
    """
    part = area[start:stop]
    return start + int(np.nanargmin(part)) if np.isfinite(part).any() else None


def frames_of_hold(start: int, moves: int) -> slice:
    """Frames in which the bolus is held, or the pharynx rests, before a swallow.

    Args:
        start: first frame that belongs to the swallow.
        moves: frame in which the first thing moves.

    Returns:
        The later half of the frames between, at least one: the pharynx of a former swallow has come to rest by then.
    """
    moves = max(moves, start + 1)
    return slice(start + (moves - start) // 2, moves)


def constriction_ratio(at_constriction: float, at_hold: float) -> float:
    """Pharyngeal constriction ratio, PCR = area at maximal constriction / area while the bolus is held (Leonard).

    Args:
        at_constriction, at_hold: areas in one unit.

    Returns:
        The ratio; nan when the area at hold is not positive.
    """
    return at_constriction / at_hold if at_hold > 0 else float("nan")


def ues_width(ues: Region) -> np.ndarray:
    """Width of the UES across the flow.

    Definition: over the middle half of the mask along its long axis, area / length - 1: from the centre of the first to
    that of the last pixel across, as C2-C4 is measured.

    Args:
        ues: its region, (x, y) pixels.

    Returns:
        (T,) pixels; nan where it is not seen.
    """
    from .landmarks import principal_axis

    if not len(ues.t):
        return np.full(ues.frames, np.nan)
    axis = principal_axis(ues)
    along = ((ues.points - ues.centroids[ues.t]) * axis[ues.t]).sum(axis=1)
    low, high = ues.reduce(along, np.minimum), ues.reduce(along, np.maximum)
    length = high - low + 1  # pixels are as long as they are wide
    middle = ues.select(abs(along - ((low + high) / 2)[ues.t]) <= (length / 4)[ues.t])
    return np.where(ues.areas > 0, np.maximum(middle.areas / (length / 2) - 1, 0), np.nan)
