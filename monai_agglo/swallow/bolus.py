"""The bolus over time: area, centroid, head and tail, how far its body has come, how wide it is in the UES."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .landmarks import RAMUS_DEPTH, Gate, RamusLine
from .region import Region
from .scale import Scale

__all__ = ["BolusCurves", "body_of", "bolus_curves", "in_pharynx", "leading_and_trailing", "width_at_gate"]

FILM = 0.012
"""Films of contrast agent on the walls up to twice as thick as this, in C2-C4, do not belong to the body of a bolus."""
HALF_BAND = 0.025
"""Half height of the band in which the width of the bolus at the UES is taken, in C2-C4."""
ASIDE = 0.3
"""The bolus in the UES lies within this distance of its centre, in C2-C4; beyond is the airway or the mouth."""


@dataclass(frozen=True)
class BolusCurves:
    """Bolus against time, (T,) each unless stated; nan where the frame shows none.

    Args:
        area_pct: area, %(C2-4)^2; 0 where there is none.
        pharyngeal_pct: the part behind the ramus, above the UES and outside the airway, %(C2-4)^2.
        centroid, head, tail: (T, 2) pixels (x, y) of the whole bolus, of the leading and the trailing end of its body.
        reach: how far the body's head lies behind the line on which it passes the mandible, C2-C4.
        advance: position of the body's head along the way back and down, C2-C4.
        ues_width: width of the bolus at the UES, C2-C4.
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
    """The body of the bolus in each frame: its largest piece that reaches into the mouth, else its largest piece.

    Pools, films on the walls and what has entered the airway are left out, so that a head is not a spilled drop.

    Args:
        bolus: all contrast agent.
        scale: of the cine.
        ramus: where the mouth ends.

    Returns:
        The body, peeled by so many pixels, which breaks the films; and that number.
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
        crumbs = size < 0.02 * scale.length_px**2  # a little that stays in the mouth is not the body
        size += np.where(oral & ~crumbs, size.sum(), 0)
    order = size[label] - label / (len(size) + 1.0)
    return pieces.select(order >= pieces.reduce(order, np.maximum)[pieces.t]), peel


def leading_and_trailing(body: Region, scale: Scale, peel: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Head and tail of a bolus: its farthest and nearest pixel along the way backwards and downwards.

    Definition: with anatomical coordinates (anterior a, inferior i), argmax and argmin of (i - a) / sqrt(2). In the
    mouth the bolus moves backwards, in the pharynx downwards; this direction rises with both.

    Args:
        body: of the bolus.
        scale: of the cine.
        peel: pixels that were peeled off it; added to the position of the head.

    Returns:
        Head and tail (T, 2) as (x, y) pixels, and the position of the head (T,) in units of C2-C4.
    """
    at = scale.to_anatomy(body.points, body.t)
    way = (at[:, 1] - at[:, 0]) / np.sqrt(2)
    return body.extreme(way), body.extreme(-way), body.reduce(way, np.maximum) + peel / scale.length_px


def width_at_gate(bolus: Region, scale: Scale, gate: Gate) -> np.ndarray:
    """Width of the bolus across the UES: its area in a thin band there over the band's height.

    Args:
        bolus: all contrast agent outside the airway.
        scale: of the cine.
        gate: the UES line.

    Returns:
        (T,) width in units of C2-C4, 0 where there is no bolus in it.
    """
    if not len(bolus.t):
        return np.zeros(bolus.frames)
    past, aside = gate.past(scale.to_anatomy(bolus.points, bolus.t), bolus.t)
    inside = bolus.select((abs(past) <= HALF_BAND) & (abs(aside) <= ASIDE))
    return inside.areas / scale.length_px**2 / (2 * HALF_BAND)


def bolus_curves(bolus: Region, airway: np.ndarray | None, scale: Scale, ramus: RamusLine, gate: Gate) -> BolusCurves:
    """All curves of the bolus.

    Args:
        bolus: all contrast agent.
        airway: (H, W, T) mask of the airway, None when it is not labelled.
        scale, ramus, gate: of the cine; the scale must be known.

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
    """The part of the bolus behind the posterior border of the ramus and above the UES.

    Args:
        bolus: all contrast agent outside the airway.
        scale, ramus, gate: of the cine.
        also: (N,) pixels that belong to it wherever they lie.
    """
    at = scale.to_anatomy(bolus.points, bolus.t)
    past, _ = gate.past(at, bolus.t)
    return bolus.select((ramus.behind(at) > 0) & (past < 0) | also)
