"""Kinematics of hyoid and epiglottis, and closure of the laryngeal vestibule."""

from __future__ import annotations

import numpy as np

from .region import Region
from .scale import Scale

__all__ = ["VESTIBULE_OPEN", "displacement", "epiglottic_angle", "place_of", "vestibule_closed"]

VESTIBULE_OPEN = 0.05
"""Largest area of a closed vestibule, as a fraction of its median area."""


def place_of(region: Region | None, scale: Scale) -> np.ndarray:
    """Centroid of a structure in anatomical coordinates.

    Args:
        region: region of the structure, None if not labelled.
        scale: scale of the cine; must be known.

    Returns:
        (T, 2) as (anterior, inferior) in C2-C4; nan in frames without the structure.
    """
    if region is None:
        return np.full((len(scale.c4), 2), np.nan)
    return scale.to_anatomy(region.centroids, np.arange(region.frames))


def displacement(place: np.ndarray, rest: slice) -> np.ndarray:
    """Displacement from rest.

    Definition: d(t) = (a(t) - a_rest, s(t) - s_rest), with anterior position a, superior position s, and the median
    over the frames before the swallow as rest position.

    Args:
        place: (T, 2) as (anterior, inferior).
        rest: frames before the swallow.

    Returns:
        (T, 2) as (anterior, superior) in the unit of ``place``; nan if no rest frame shows the structure.
    """
    before = place[rest]
    before = before[np.isfinite(before).all(axis=1)]
    if not len(before):
        return np.full_like(place, np.nan)
    return (place - np.median(before, axis=0)) * np.array([1.0, -1.0])


def epiglottic_angle(epiglottis: Region | None, scale: Scale) -> np.ndarray:
    """Angle of the epiglottis (base to tip) relative to the axis from C4 to C2.

    Definition: the base is the most anterior-inferior pixel, the tip the pixel farthest from the base; the angle is
    atan2(-anterior, superior) of tip - base: 0 upright, 90 horizontal with posterior tip, above 90 inverted.

    Args:
        epiglottis: region of the epiglottis, None if not labelled.
        scale: scale of the cine; must be known.

    Returns:
        (T,) degrees, -180..180; nan in frames without epiglottis.
    """
    if epiglottis is None or not len(epiglottis.t):
        return np.full(len(scale.c4), np.nan)
    leaf = epiglottis.largest_piece()
    at = Region(leaf.shape, leaf.t, scale.to_anatomy(leaf.points, leaf.t))
    base = at.extreme(at.points.sum(axis=1))
    tip = at.extreme(np.hypot(*(at.points - base[at.t]).T))
    chord = tip - base
    return np.degrees(np.arctan2(-chord[:, 0], -chord[:, 1]))


def vestibule_closed(vestibule: Region) -> np.ndarray:
    """Frames with a closed laryngeal vestibule.

    Definition: area at most 5 % of the median area over the frames in which it is visible.

    Args:
        vestibule: region of the laryngeal vestibule.

    Returns:
        (T,) bool.
    """
    seen = vestibule.areas > 0
    usual = float(np.median(vestibule.areas[seen])) if seen.any() else 0.0
    return vestibule.areas <= VESTIBULE_OPEN * usual
