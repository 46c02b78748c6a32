"""The bolus over time: area, centroid, head, tail, progress, and width at the UES."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .landmarks import RAMUS_DEPTH, Gate, RamusLine
from .region import Region
from .scale import Scale

__all__ = ["BolusCurves", "body_of", "bolus_curves", "in_pharynx", "leading_and_trailing", "width_at_gate"]

FILM = 0.012
"""Half the largest thickness of a contrast film on the walls, in C2-C4; films are not part of the bolus body."""
HALF_BAND = 0.025
"""Half height of the band in which the bolus width at the UES is measured, in C2-C4."""
ASIDE = 0.3
"""Largest distance of bolus in the UES from the centre of the UES, in C2-C4."""


@dataclass(frozen=True)
class BolusCurves:
    """Bolus curves, (T,) each unless stated; nan in frames without bolus.

    Args:
        area_pct: area, %(C2-4)^2; 0 without bolus.
        pharyngeal_pct: area posterior to the ramus, above the UES and outside the airway, %(C2-4)^2.
        centroid: (T, 2) centroid of the whole bolus as (x, y), pixels.
        head: (T, 2) leading end of the bolus body as (x, y), pixels.
        tail: (T, 2) trailing end of the bolus body as (x, y), pixels.
        reach: distance of the head posterior to the line where the bolus passes the mandible, C2-C4.
        advance: position of the head along the posterior-inferior direction, C2-C4.
        ues_width: bolus width at the UES, C2-C4.
    """

    area_pct: np.ndarray
    pharyngeal_pct: np.ndarray
    centroid: np.ndarray
    head: np.ndarray
    tail: np.ndarray
    reach: np.ndarray
    advance: np.ndarray
    ues_width: np.ndarray


def body_of(bolus: Region, scale: Scale, ramus: RamusLine) -> tuple[Region, int]:
    """Body of the bolus per frame: the largest piece that extends into the mouth, otherwise the largest piece.

    Pools and films on the walls are excluded, so that the bolus head is not a spilled drop.

    Args:
        bolus: all contrast agent outside the airway.
        scale: scale of the cine.
        ramus: posterior border of the mouth.

    Returns:
        The body, eroded to break up films, and the erosion in pixels.
    """
    peel = max(1, round(FILM * scale.length_px))
    pieces, label = bolus.pieces(peel)
    if not len(label):
        return pieces, peel
    size = np.bincount(label).astype(float)
    if not ramus.reason:
        behind = ramus.behind(scale.to_anatomy(pieces.points, pieces.t)) + RAMUS_DEPTH
        oral = np.zeros(len(size), bool)
        oral[label[behind < 0]] = True
        small = size < 0.02 * scale.length_px**2  # remnants in the mouth
        size += np.where(oral & ~small, size.sum(), 0)
    order = size[label] - label / (len(size) + 1.0)
    return pieces.select(order >= pieces.reduce(order, np.maximum)[pieces.t]), peel


def leading_and_trailing(body: Region, scale: Scale, peel: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Head and tail of a bolus: its extreme pixels along the posterior-inferior direction.

    Definition: argmax and argmin of (i - a) / sqrt(2) in anatomical coordinates (anterior a, inferior i). The direction
    covers the posterior motion in the mouth and the inferior motion in the pharynx.

    Args:
        body: body of the bolus.
        scale: scale of the cine.
        peel: erosion of the body in pixels, added to the position of the head.

    Returns:
        Head and tail (T, 2) as (x, y) in pixels, and the position of the head (T,) in C2-C4.
    """
    at = scale.to_anatomy(body.points, body.t)
    way = (at[:, 1] - at[:, 0]) / np.sqrt(2)
    return body.extreme(way), body.extreme(-way), body.reduce(way, np.maximum) + peel / scale.length_px


def width_at_gate(bolus: Region, scale: Scale, gate: Gate) -> np.ndarray:
    """Width of the bolus across the UES: bolus area in a thin band over the height of the band.

    Args:
        bolus: all contrast agent outside the airway.
        scale: scale of the cine.
        gate: the UES line.

    Returns:
        (T,) width in C2-C4, 0 without bolus in the band.
    """
    if not len(bolus.t):
        return np.zeros(bolus.frames)
    past, aside = gate.past(scale.to_anatomy(bolus.points, bolus.t), bolus.t)
    inside = bolus.select((abs(past) <= HALF_BAND) & (abs(aside) <= ASIDE))
    return inside.areas / scale.length_px**2 / (2 * HALF_BAND)


def bolus_curves(bolus: Region, airway: np.ndarray | None, scale: Scale, ramus: RamusLine, gate: Gate) -> BolusCurves:
    """Compute all curves of the bolus.

    Args:
        bolus: all contrast agent.
        airway: (H, W, T) mask of the airway, None if not labelled.
        scale: scale of the cine; must be known.
        ramus: posterior border of the mandibular ramus.
        gate: the UES line.

    Returns:
        The curves.
    """
    frames = bolus.frames
    nothing = np.full(frames, np.nan)
    swallowed = bolus if airway is None else bolus.select(~bolus.inside(airway))
    body, peel = body_of(swallowed, scale, ramus)
    head, tail, advance = leading_and_trailing(body, scale, peel)
    reach, pharyngeal, width = nothing, nothing, nothing
    if not ramus.reason:
        behind = ramus.behind(scale.to_anatomy(body.points, body.t)) + RAMUS_DEPTH
        reach = body.reduce(behind, np.maximum) + peel / scale.length_px
    if not gate.reason:
        width = width_at_gate(swallowed, scale, gate)
        if not ramus.reason:
            pharyngeal = scale.area_pct(in_pharynx(swallowed, scale, ramus, gate).areas)
    return BolusCurves(
        scale.area_pct(bolus.areas), pharyngeal, bolus.centroids, head, tail, reach, advance, width
    )  # fmt: skip


def in_pharynx(bolus: Region, scale: Scale, ramus: RamusLine, gate: Gate, also: np.ndarray | bool = False) -> Region:
    """Bolus in the pharynx: posterior to the mandibular ramus and above the UES.

    Args:
        bolus: all contrast agent outside the airway, N pixels.
        scale: scale of the cine.
        ramus: posterior border of the mandibular ramus.
        gate: the UES line.
        also: (N,) bool, pixels included regardless of their position.

    Returns:
        The selected pixels.
    """
    at = scale.to_anatomy(bolus.points, bolus.t)
    past, _ = gate.past(at, bolus.t)
    return bolus.select((ramus.behind(at) > 0) & (past < 0) | also)
