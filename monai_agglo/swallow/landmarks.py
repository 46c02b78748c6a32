"""Lines crossed by the bolus: the mandibular ramus and the upper oesophageal sphincter (UES)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .region import Region
from .scale import Scale

__all__ = ["RAMUS_DEPTH", "Gate", "RamusLine", "find_ramus", "find_ues_gate", "principal_axis"]

RAMUS_DEPTH = 0.2
"""Distance of the line where the bolus passes the mandible from the posterior border of the ramus, in C2-C4."""
BELOW = 0.06
"""Distance of the UES line below the caudal end of the pharynx, in C2-C4."""
TIP = 0.3
"""Length of the caudal end of the pharynx that determines the direction of flow into the UES, in C2-C4."""


@dataclass(frozen=True)
class RamusLine:
    """Posterior border of the mandibular ramus, in anatomical coordinates.

    Args:
        anchor: (2,) point on the border as (anterior, inferior) in C2-C4; nan if not found.
        backwards: (2,) posterior unit normal.
        reason: why the border was not found; otherwise empty.
    """

    anchor: np.ndarray
    backwards: np.ndarray
    reason: str = ""

    def behind(self, anatomy: np.ndarray) -> np.ndarray:
        """Distance of points (N, 2) posterior to the border in C2-C4; negative anterior to it."""
        return (anatomy - self.anchor) @ self.backwards


def find_ramus(mandible: Region | None, scale: Scale) -> RamusLine:
    """Find the posterior border of the ramus, from the most posterior point of the mandible (condyle) to its angle.

    Args:
        mandible: region of the mandible, None if not labelled.
        scale: scale of the cine.

    Returns:
        The median line over all frames with a visible mandible.
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
    """The line across the UES in each frame.

    Args:
        center: (T, 2) anatomical coordinates.
        flow: (T, 2) unit vector of the flow into the oesophagus, in anatomical coordinates.
        source: structure that defines the line, ``"ues"`` or ``"pharynx"``.
        reason: why the line was not found; otherwise empty.
    """

    center: np.ndarray
    flow: np.ndarray
    source: str
    reason: str = ""

    def past(self, anatomy: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance of points beyond the line, and lateral distance from its centre, in C2-C4, (N,) each."""
        away = anatomy - self.center[t]
        flow = self.flow[t]
        return (away * flow).sum(-1), away[:, 1] * flow[:, 0] - away[:, 0] * flow[:, 1]


def find_ues_gate(ues: Region | None, pharynx: Region | None, scale: Scale) -> Gate:
    """Find the line across the UES: through the centre of a labelled UES, otherwise just below the pharynx.

    Args:
        ues: region of the UES, None if not labelled.
        pharynx: region of the pharynx, None if not labelled.
        scale: scale of the cine.

    Returns:
        The gate; a frame without the structure takes the line of the nearest frame.
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
    for _ in range(2):  # first along the spine, then along the pharynx
        along = (at.points * flow[at.t]).sum(axis=1)
        deepest = at.reduce(along, np.maximum)
        flow = np.tile(np.nanmedian(principal_axis(at.select(along > deepest[at.t] - TIP)), axis=0), (frames, 1))
        flow /= np.hypot(*flow.T)[:, None]
    along = (at.points * flow[at.t]).sum(axis=1)
    deepest = at.reduce(along, np.maximum)
    end = at.select(along > deepest[at.t] - 0.02)
    return Gate(_fill(end.centroids) + BELOW * flow, flow, "pharynx")


def principal_axis(region: Region) -> np.ndarray:
    """Principal axis of a structure, oriented to increasing second coordinate (inferior).

    Args:
        region: the structure, in any coordinates.

    Returns:
        (T, 2) unit vectors, nan in frames without the structure.
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
    """Replace nan rows by the nearest finite row."""
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(known):
        return values
    index = np.arange(len(values))
    nearest = known[np.argmin(abs(index[:, None] - known[None]), axis=1)]
    return values[nearest]
