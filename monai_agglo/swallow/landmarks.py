"""Lines that the bolus crosses: the ramus of the mandible and the upper oesophageal sphincter (UES)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .region import Region
from .scale import Scale

__all__ = ["RAMUS_DEPTH", "Gate", "RamusLine", "find_ramus", "find_ues_gate", "principal_axis"]

RAMUS_DEPTH = 0.2
"""The bolus passes the mandible on a line within the shadow of the ramus, this far (in C2-C4) before its back edge."""
BELOW = 0.06
"""The sphincter begins where the pharynx ends: its line lies so far below the last pixel of the pharynx, in C2-C4."""
TIP = 0.3
"""Length of the caudal end of the pharynx, in C2-C4, that gives the direction of flow into the UES."""


@dataclass(frozen=True)
class RamusLine:
    """The posterior border of the mandibular ramus, in anatomical coordinates.

    Args:
        anchor: (2,) a point on it (anterior, inferior), in units of C2-C4; nan when not found.
        backwards: (2,) unit normal that points to the pharynx.
        reason: why it was not found; empty when it was.
    """

    anchor: np.ndarray
    backwards: np.ndarray
    reason: str = ""

    def behind(self, anatomy: np.ndarray) -> np.ndarray:
        """How far points (N, 2) lie behind the border, in units of C2-C4; negative in front of it."""
        return (anatomy - self.anchor) @ self.backwards


def find_ramus(mandible: Region | None, scale: Scale) -> RamusLine:
    """The posterior border of the ramus: from the most posterior point of the mandible (condyle) to its angle.

    Args:
        mandible: its region, None when it is not labelled.
        scale: of the cine.

    Returns:
        The median line over all frames in which the mandible is seen.
    """
    none = np.full(2, np.nan)
    if not scale.known:
        return RamusLine(none, none, scale.reason)
    if mandible is None or not mandible.areas.any():
        return RamusLine(none, none, "mandible not found")
    body = mandible.largest_piece()
    at = scale.to_anatomy(body.points, body.t)
    place = Region(body.shape, body.t, at)
    angle = np.nanmedian(place.extreme(at[:, 1] - at[:, 0]), axis=0)
    above = place.select(at[:, 1] < angle[1] - 0.3)
    if not above.areas.any():
        return RamusLine(none, none, "the ramus of the mandible is outside the field")
    condyle = np.nanmedian(above.extreme(-above.points[:, 0]), axis=0)
    along = (angle - condyle) / np.hypot(*(angle - condyle))
    return RamusLine(condyle, np.array([-along[1], along[0]]))


@dataclass(frozen=True)
class Gate:
    """The line across the UES, in each frame.

    Args:
        center: (T, 2) anatomical coordinates.
        flow: (T, 2) unit vector of the flow into the oesophagus, anatomical coordinates.
        source: ``"ues"`` or ``"pharynx"``: which structure gave it.
        reason: why it was not found; empty when it was.
    """

    center: np.ndarray
    flow: np.ndarray
    source: str
    reason: str = ""

    def past(self, anatomy: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far points lie beyond the line and aside of its centre, in units of C2-C4, (N,) each."""
        away = anatomy - self.center[t]
        flow = self.flow[t]
        return (away * flow).sum(-1), away[:, 1] * flow[:, 0] - away[:, 0] * flow[:, 1]


def find_ues_gate(ues: Region | None, pharynx: Region | None, scale: Scale) -> Gate:
    """The line across the UES: the middle of the UES where it is labelled, else just below the pharynx.

    Args:
        ues, pharynx: regions, None when not labelled.
        scale: of the cine.

    Returns:
        The gate; frames in which neither is seen take that of the nearest frame.
    """
    frames = len(scale.c4)
    none = np.full((frames, 2), np.nan)
    if not scale.known:
        return Gate(none, none, "", scale.reason)
    if ues is not None and ues.areas.any():
        at = Region(ues.shape, ues.t, scale.to_anatomy(ues.points, ues.t))
        return Gate(_fill(at.centroids), _fill(principal_axis(at)), "ues")
    if pharynx is None or not pharynx.areas.any():
        return Gate(none, none, "", "neither UES nor pharynx found")
    at = Region(pharynx.shape, pharynx.t, scale.to_anatomy(pharynx.points, pharynx.t))
    flow = np.tile([0.0, 1.0], (frames, 1))
    for _ in range(2):  # once along the spine, then along the pharynx itself
        along = (at.points * flow[at.t]).sum(axis=1)
        deepest = at.reduce(along, np.maximum)
        flow = np.tile(np.nanmedian(principal_axis(at.select(along > deepest[at.t] - TIP)), axis=0), (frames, 1))
        flow /= np.hypot(*flow.T)[:, None]
    along = (at.points * flow[at.t]).sum(axis=1)
    deepest = at.reduce(along, np.maximum)
    end = at.select(along > deepest[at.t] - 0.02)
    return Gate(_fill(end.centroids) + BELOW * flow, flow, "pharynx")


def principal_axis(region: Region) -> np.ndarray:
    """Direction in which a structure is longest, pointing to larger second coordinates (downwards).

    Args:
        region: in any coordinates.

    Returns:
        (T, 2) unit vectors, nan where the structure is not seen.
    """
    away = region.points - region.centroids[region.t]
    n = np.maximum(region.areas, 1)
    xx, yy, xy = (
        np.bincount(region.t, weights=values, minlength=region.frames) / n
        for values in (away[:, 0] ** 2, away[:, 1] ** 2, away[:, 0] * away[:, 1])
    )
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    axis = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    axis *= np.where(axis[:, 1] < 0, -1.0, 1.0)[:, None]
    axis[region.areas == 0] = np.nan
    return axis


def _fill(values: np.ndarray) -> np.ndarray:
    """Rows with each nan row replaced by the nearest known one."""
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(known):
        return values
    index = np.arange(len(values))
    nearest = known[np.argmin(abs(index[:, None] - known[None]), axis=1)]
    return values[nearest]
