"""Swallow events from hyoid, laryngeal vestibule, pharynx and UES, and swallow rest."""

from __future__ import annotations

import numpy as np

from .bolus import BolusCurves
from .clock import Clock
from .constriction import frame_of_constriction, frames_of_hold
from .kinematics import displacement
from .timing import Swallow, first_beyond, rise_from, settled_from
from .tracks import Tracks

__all__ = ["complete_events", "hold_of"]

BURST = 0.015
"""Fraction of the hyoid excursion at which the hyoid burst begins."""
SETTLED = 0.015
"""Largest deviation of a structure at rest, as a fraction of its range of motion."""


def hold_of(swallow: Swallow) -> slice:
    """Frames of the bolus hold, before the first motion of a swallow.

    Args:
        swallow: the swallow with the events found so far.

    Returns:
        The frames.
    """
    known = [swallow.events[name] for name in ("oral", "bpm", "hyb", "ueso") if name in swallow.events]
    return frames_of_hold(swallow.start, min(known, default=swallow.stop))


def complete_events(
    swallow: Swallow, former: Swallow | None, curves: BolusCurves, tracks: Tracks, clock: Clock
) -> None:
    """Add the remaining events to a swallow.

    Args:
        swallow: the swallow with the events of the bolus; modified.
        former: the previous swallow with all events; None for the first.
        curves: curves of the bolus.
        tracks: curves of the other structures.
        clock: frame times.
    """
    if former is not None:
        swallow.start = min(former.events.get("rest", swallow.start), swallow.events.get("oral", swallow.stop))
    first = swallow.events.get("bpm", swallow.events.get("ueso", swallow.start))
    opens, closes = swallow.events.get("ueso"), swallow.events.get("uesc")
    _hyoid(swallow, tracks, first, closes)
    _vestibule(swallow, tracks)
    swallow.put("rest", *_rest(swallow, tracks, clock))
    end = min(swallow.events.get("rest", swallow.stop - 1) + 1, swallow.stop)
    if tracks.pharynx_px is None:
        swallow.put("mpc", None, "pharynx is not labelled")
    elif closes is None:
        swallow.put("mpc", None, swallow.missing["uesc"])
    else:
        frame = frame_of_constriction(tracks.pharynx_px, first, end)
        swallow.put("mpc", frame, "the pharynx is not seen during the swallow")
    width = curves.ues_width if tracks.ues_px is None else tracks.ues_px
    if opens is None or closes is None:
        swallow.put("ues_max", None, swallow.missing.get("ueso") or swallow.missing.get("uesc", ""))
    else:
        part = width[opens:closes]
        known = np.isfinite(part).any()
        swallow.put("ues_max", opens + int(np.nanargmax(part)) if known else None, "the UES is not seen while open")


def _hyoid(swallow: Swallow, tracks: Tracks, first: int, closes: int | None) -> None:
    for event in ("hyb", "hyoid_peak"):
        if tracks.hyoid is None:
            swallow.put(event, None, "hyoid is not labelled")
    if tracks.hyoid is None:
        return
    moved = np.hypot(*displacement(tracks.hyoid, hold_of(swallow)).T)
    stop = swallow.stop if closes is None else min(closes + 1, swallow.stop)
    part = moved[first:stop]
    if not np.isfinite(part).any():
        for event in ("hyb", "hyoid_peak"):
            swallow.put(event, None, "the hyoid is not seen during the swallow")
        return
    peak = first + int(np.nanargmax(part))
    swallow.put("hyoid_peak", peak, "")
    rise = rise_from(moved[swallow.start :], peak - swallow.start, BURST)
    reason = "the hyoid is never seen at rest before the swallow"
    swallow.put("hyb", None if rise is None else swallow.start + rise, reason)


def _vestibule(swallow: Swallow, tracks: Tracks) -> None:
    closed = tracks.vestibule_closed
    if closed is None:
        for event in ("lvc", "lvco"):
            swallow.put(event, None, "laryngeal vestibule is not labelled")
        return
    begins = min(swallow.events.get("hyb", swallow.stop), swallow.events.get("bpm", swallow.stop))
    begins = swallow.start if begins == swallow.stop else begins
    shut = first_beyond(closed, begins, swallow.stop)
    if shut is not None and shut > 0 and not closed[:shut].all():
        swallow.put("lvc", shut, "")
        swallow.put("lvco", first_beyond(~closed, shut, swallow.stop), "the vestibule stays closed until the end")
        return
    why = "the vestibule is never seen closed" if shut is None else "the vestibule is never seen open before closure"
    for event in ("lvc", "lvco"):
        swallow.put(event, None, why)


def _rest(swallow: Swallow, tracks: Tracks, clock: Clock) -> tuple[int | None, str]:
    """Swallow rest: first frame after the bolus from which pharynx and hyoid (or epiglottis) are at rest."""
    if "uesc" not in swallow.events:
        return None, swallow.missing["uesc"]
    curves = [] if tracks.pharynx_px is None else [tracks.pharynx_px]
    # Not the airway: it is cut off by the field, so that its centroid drifts with patient motion.
    place = tracks.epiglottis if tracks.hyoid is None else tracks.hyoid
    if place is not None:
        curves.append(np.hypot(*displacement(place, hold_of(swallow)).T))
    if not curves:
        return None, "neither pharynx nor hyoid nor epiglottis is labelled"
    still = 3 if not clock.frame_s else max(3, round(0.12 / clock.frame_s))
    fresh = np.unique(clock.pulse)  # repeated frames show no motion
    start = int(np.searchsorted(fresh, swallow.events.get("bpm", swallow.events["uesc"])))
    stop = int(np.searchsorted(fresh, swallow.stop))
    frame = settled_from([curve[fresh] for curve in curves], start, stop, still, SETTLED)
    if frame is None or frame >= len(fresh):
        return None, "the recording ends, or the next swallow begins, before the pharynx is at rest"
    return max(int(fresh[frame]), swallow.events["uesc"]), ""
