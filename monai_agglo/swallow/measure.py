"""Measures of a cine from masks and frame times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .airway import airway_flags
from .bolus import bolus_curves
from .clock import Clock
from .events import complete_events
from .landmarks import Gate, RamusLine, find_ramus, find_ues_gate
from .measurement import Measurement
from .region import Region
from .results import CineMeasures
from .scale import Scale, find_scale, no_scale
from .structures import NAMES
from .swallow_measures import swallow_measures
from .timing import EVENTS, Swallow, find_swallows
from .tracks import find_tracks

__all__ = ["measure"]


def measure(
    masks: Mapping[str, np.ndarray],
    frame_times_ms: Sequence[float] | None = None,
    *,
    view: str | None = "lateral",
    spacing_mm: tuple[float, float] | None = None,
    repeated_frames: Sequence[int] = (),
    iddsi: Sequence[int | None] = (),
    events: Sequence[Mapping[str, int | None]] = (),
    least_airway_pct: float = 0.1,
) -> CineMeasures:
    """Measure the swallows of a cine.

    Args:
        masks: masks by structure name (see :data:`~monai_agglo.swallow.NAMES`), each (H, W, T), boolean or 0 and 1.
            Omit unlabelled structures: an empty mask means that the structure is not visible.
        frame_times_ms: (T,) frame times in ms; None if unknown, then no time is measured.
        view: ``"lateral"``; no lateral measure is taken for ``"ap"`` or any other value.
        spacing_mm: calibrated (row, column) pixel size in the patient, None if unknown.
        repeated_frames: frames that show the same X-ray pulse as their predecessor; they increase the uncertainty of
            times.
        iddsi: consistency of each swallow, IDDSI level 0 to 4, for consistency-dependent reference ranges.
        events: corrected events of each swallow, by name: a frame, or None to remove the event. They replace the
            detected events; dependent measures are recomputed.
        least_airway_pct: smallest flagged overlap of bolus and airway, %(C2-4)^2.

    Returns:
        The measures; a missing value carries its reason.

    Raises:
        ValueError: masks, times or corrected events are inconsistent.
    """
    shape = _check(masks, frame_times_ms, events)
    clock = Clock.of(shape[2], frame_times_ms, repeated_frames)
    labelled = tuple(name for name in NAMES if name in masks)
    kind = view if view in ("lateral", "ap") else "unknown"
    if kind != "lateral":
        reason = (
            "this is a frontal (AP) view: lateral measures do not apply"
            if kind == "ap"
            else "the view is not confirmed as lateral: lateral measures do not apply"
        )
        return CineMeasures(kind, reason, clock, no_scale(shape[2], reason), labelled, warnings=(_sentence(reason),))
    regions = {name: Region.of(masks[name]) for name in labelled}
    scale = find_scale(regions)
    study = _study_measures(scale, spacing_mm)
    bolus = regions.get("bolus")
    flags = None
    if bolus is not None and "trachea" in masks:
        flags = airway_flags(bolus, masks["trachea"], regions.get("vocal_folds"), scale, least_airway_pct)
    reason = scale.reason or ("bolus is not labelled" if bolus is None else "")
    if bolus is not None and not reason and not len(bolus.t):
        reason = "no bolus in any frame"
    if reason or bolus is None:
        warnings = _warnings(clock, scale, reason)
        return CineMeasures(kind, reason, clock, scale, labelled, study, airway=flags, warnings=warnings)
    ramus = find_ramus(regions.get("mandible"), scale)
    gate = find_ues_gate(regions.get("ues"), regions.get("pharynx"), scale)
    curves = bolus_curves(bolus, masks.get("trachea"), scale, ramus, gate)
    tracks = find_tracks(regions, masks, scale, ramus, gate)
    swallows = find_swallows(curves, clock.frame_s, tracks.pharynx_px)
    if not swallows:
        reason = _no_swallow(ramus, gate)
    for k, swallow in enumerate(swallows):
        complete_events(swallow, swallows[k - 1] if k else None, curves, tracks, clock)
    _correct(swallows, events)
    rows = []
    for k, swallow in enumerate(swallows):
        level = iddsi[k] if k < len(iddsi) else None
        rows.append(swallow_measures(swallow, clock, scale, curves, tracks, flags, gate, level))
    return CineMeasures(
        kind, reason, clock, scale, labelled, study, swallows, rows, curves, tracks, flags, gate,
        _warnings(clock, scale, reason),
    )  # fmt: skip


def _check(masks: Mapping[str, np.ndarray], times: Any, events: Any) -> tuple[int, int, int]:
    """Validate masks and events; returns the shape of the masks."""
    if not masks:
        raise ValueError("no masks to measure")
    if unknown := sorted(set(masks) - set(NAMES)):
        raise ValueError(f"unknown structures {', '.join(unknown)}; known: {', '.join(NAMES)}")
    shapes = {np.shape(mask) for mask in masks.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"all masks must have one shape (rows, columns, frames); these have {sorted(shapes)}")
    shape = next(iter(shapes))
    for correction in events:
        if wrong := sorted(set(correction) - set(EVENTS)):
            raise ValueError(f"unknown event {wrong[0]!r}; known: {', '.join(EVENTS)}")
        for name, frame in correction.items():
            if frame is not None and not 0 <= frame < shape[2]:
                raise ValueError(f"event {name!r} at frame {frame}, but the cine has frames 0 to {shape[2] - 1}")
    return shape


def _correct(swallows: list[Swallow], events: Sequence[Mapping[str, int | None]]) -> None:
    """Replace detected events by the reader's corrections."""
    if len(events) > len(swallows):
        raise ValueError(f"corrected events of {len(events)} swallows, but {len(swallows)} were found")
    for swallow, correction in zip(swallows, events):
        for name, frame in correction.items():
            swallow.missing.pop(name, None)
            swallow.events.pop(name, None)
            swallow.put(name, frame, "removed by the reader")


def _study_measures(scale: Scale, spacing_mm: tuple[float, float] | None) -> dict[str, Measurement]:
    if not scale.known:
        return {name: Measurement.none(name, unit, scale.reason) for name, unit in (("c2c4", "px"), ("c2c4_mm", "mm"))}
    found = {"c2c4": Measurement("c2c4", scale.length_px, "px")}
    if spacing_mm is None:
        found["c2c4_mm"] = Measurement.none("c2c4_mm", "mm", "no calibrated pixel spacing")
    else:
        away = np.median(abs(scale.c4 - scale.c2), axis=0) * np.array([spacing_mm[1], spacing_mm[0]])
        found["c2c4_mm"] = Measurement("c2c4_mm", float(np.hypot(*away)), "mm")
    return found


def _no_swallow(ramus: RamusLine, gate: Gate) -> str:
    if gate.reason:
        return f"no swallow can be detected: {gate.reason}"
    return "no bolus passes the upper oesophageal sphincter within the field and the recording"


def _warnings(clock: Clock, scale: Scale, reason: str) -> tuple[str, ...]:
    found = [_sentence(reason)] if reason else []
    if not clock.known:
        found.append("Frame times are unknown: events are given as frames, not in seconds.")
    if scale.known:
        if filled := int(scale.filled.sum()):
            found.append(
                f"C2 to C4 were not seen in {filled} of {len(scale.filled)} frames; the nearest frames were used there."
            )
        if scale.variation_pct > 5:
            found.append(
                f"The C2-C4 scale varies by {scale.variation_pct:.0f} % between frames; areas depend on its square."
            )
    return tuple(found)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
