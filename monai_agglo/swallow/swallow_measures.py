"""Measures of one swallow from its events and curves."""

from __future__ import annotations

import numpy as np

from .airway import AirwayFlags
from .bolus import BolusCurves
from .clock import Clock
from .constriction import constriction_ratio
from .definitions import DEFINITIONS
from .events import hold_of
from .kinematics import displacement
from .landmarks import Gate
from .measurement import Measurement
from .norms import reference_for
from .residue import normalised_residue_ratio, percent_full, residue_pct
from .scale import Scale
from .timing import Swallow
from .tracks import Tracks

__all__ = ["swallow_measures"]

SPACES = {"valleculae": "valleculae", "pyriform": "pyriform_sinuses"}


class _Rows:
    """Collects measurements with the units of their definitions."""

    def __init__(self) -> None:
        self.found: dict[str, Measurement] = {}

    def value(self, name: str, value: float, *frames: int, plus_minus: float = float("nan"), note: str = "") -> None:
        if np.isfinite(value):
            unit = DEFINITIONS[name].unit
            self.found[name] = Measurement(name, float(value), unit, float("nan"), plus_minus, frames, note=note)
        else:
            self.none(name, "not seen in the frames of the measurement")

    def none(self, name: str, reason: str) -> None:
        self.found[name] = Measurement.none(name, DEFINITIONS[name].unit, reason)


def swallow_measures(
    swallow: Swallow,
    clock: Clock,
    scale: Scale,
    curves: BolusCurves,
    tracks: Tracks,
    airway: AirwayFlags | None,
    gate: Gate,
    iddsi: int | None = None,
) -> dict[str, Measurement]:
    """Compute all measures of a swallow.

    Args:
        swallow: the swallow with all events.
        clock: frame times.
        scale: scale of the cine.
        curves: curves of the bolus.
        tracks: curves of the other structures.
        airway: overlap of bolus and airway, None if not labelled.
        gate: the UES line.
        iddsi: consistency, IDDSI level 0 to 4, for consistency-dependent reference ranges.

    Returns:
        One measurement per entry of :data:`~monai_agglo.swallow.definitions.DEFINITIONS`, in its order.
    """
    rows = _Rows()
    _times(rows, swallow, clock)
    _ues(rows, swallow, scale, curves, tracks, gate)
    _motion(rows, swallow, tracks)
    _areas(rows, swallow, scale, curves, tracks)
    _residue(rows, swallow, scale, tracks)
    if airway is None:
        rows.none("airway_frames", "trachea is not labelled")
    else:
        part = np.flatnonzero(airway.flagged[swallow.start : swallow.stop]) + swallow.start
        rows.value("airway_frames", len(part), *part.tolist(), note="candidates for review; no score is computed")
    return {name: rows.found[name].with_reference(reference_for(name, iddsi)) for name in DEFINITIONS}


def _times(rows: _Rows, swallow: Swallow, clock: Clock) -> None:
    for name, definition in DEFINITIONS.items():
        if not definition.events:
            continue
        absent = [event for event in definition.events if event not in swallow.events]
        if absent:
            rows.none(name, f"{absent[0].upper()}: {swallow.missing.get(absent[0], 'not found')}")
        elif not clock.known:
            rows.none(name, "frame times are unknown")
        else:
            first, last = (swallow.events[event] for event in definition.events)
            rows.value(name, clock.between(first, last), first, last, plus_minus=clock.plus_minus(first, last))


def _ues(rows: _Rows, swallow: Swallow, scale: Scale, curves: BolusCurves, tracks: Tracks, gate: Gate) -> None:
    frame = swallow.events.get("ues_max")
    if frame is None:
        rows.none("ues_max_width", swallow.missing.get("ues_max", "not found"))
    elif tracks.ues_px is not None:
        rows.value("ues_max_width", 100 * tracks.ues_px[frame] / scale.length_px, frame)
    else:
        note = f"UES not labelled: width of the bolus at the UES, located from the {gate.source}"
        rows.value("ues_max_width", 100 * curves.ues_width[frame], frame, note=note)


def _motion(rows: _Rows, swallow: Swallow, tracks: Tracks) -> None:
    names = ("hyoid_excursion", "hyoid_anterior", "hyoid_superior")
    peak = swallow.events.get("hyoid_peak")
    if peak is None or tracks.hyoid is None:
        for name in names:
            rows.none(name, swallow.missing.get("hyoid_peak", "hyoid is not labelled"))
    else:
        anterior, superior = 100 * displacement(tracks.hyoid, hold_of(swallow))[peak]
        for name, value in zip(names, (np.hypot(anterior, superior), anterior, superior)):
            rows.value(name, value, peak)
    angle = tracks.epiglottic_angle
    if angle is None:
        rows.none("epiglottic_inversion", "epiglottis is not labelled")
        return
    hold = hold_of(swallow)
    first = swallow.events.get("bpm", hold.stop)
    last = swallow.events.get("uesc", swallow.stop - 1) + 1
    if not (np.isfinite(angle[hold]).any() and np.isfinite(angle[first:last]).any()):
        rows.none("epiglottic_inversion", "the epiglottis is not seen before and during the swallow")
        return
    frame = first + int(np.nanargmax(angle[first:last]))
    rows.value("epiglottic_inversion", angle[frame] - np.nanmedian(angle[hold]), frame)


def _areas(rows: _Rows, swallow: Swallow, scale: Scale, curves: BolusCurves, tracks: Tracks) -> None:
    area = tracks.pharynx_px
    if area is None:
        for name in ("pharyngeal_area_hold", "pharyngeal_area_rest", "pharyngeal_area_mpc", "pcr"):
            rows.none(name, "pharynx is not labelled")
    else:
        hold = area[hold_of(swallow)]
        held = float(np.nanmedian(hold)) if np.isfinite(hold).any() else float("nan")
        rows.value("pharyngeal_area_hold", float(scale.area_pct(held)))
        for event in ("rest", "mpc"):
            frame = swallow.events.get(event)
            if frame is None:
                rows.none(f"pharyngeal_area_{event}", f"{event.upper()}: {swallow.missing.get(event, 'not found')}")
            else:
                rows.value(f"pharyngeal_area_{event}", float(scale.area_pct(area[frame])), frame)
        if "mpc" in swallow.events:
            frame = swallow.events["mpc"]
            note = "relative to the pharynx before this swallow, not to a 1 ml bolus hold"
            rows.value("pcr", constriction_ratio(float(area[frame]), held), frame, note=note)
        else:
            rows.none("pcr", f"MPC: {swallow.missing.get('mpc', 'not found')}")
    part = curves.pharyngeal_pct[swallow.start : swallow.events.get("uesc", swallow.stop - 1) + 1]
    if np.isfinite(part).any():
        rows.value("bolus_area_peak", float(np.nanmax(part)), swallow.start + int(np.nanargmax(part)))
    else:
        rows.none("bolus_area_peak", "the pharynx could not be delimited: mandible or pharynx not found")


def _residue(rows: _Rows, swallow: Swallow, scale: Scale, tracks: Tracks) -> None:
    frame = swallow.events.get("rest")
    length = scale.length_px
    late = f"REST: {swallow.missing.get('rest', 'not found')}"
    known: dict[str, float] = {}
    total = tracks.fill_px.get("pharynx")
    if frame is None or total is None:
        rows.none("residue_total", late if frame is None else "mandible or pharynx not found")
    else:
        known["total"] = float(total[frame])
        rows.value("residue_total", residue_pct(known["total"], length), frame)
    for short, name in SPACES.items():
        measures = (f"residue_{short}", f"{short}_full", f"nrrs_{short}")
        why = late if frame is None else f"{name.replace('_', ' ')} not labelled"
        if frame is not None and name in tracks.space_px and not tracks.space_px[name][frame] > 0:
            why = f"{name.replace('_', ' ')} not seen at swallow rest"
        elif frame is not None and name in tracks.space_px:
            residue, space = float(tracks.fill_px[name][frame]), float(tracks.space_px[name][frame])
            known[short] = residue
            rows.value(measures[0], residue_pct(residue, length), frame)
            rows.value(measures[1], percent_full(residue, space), frame)
            rows.value(measures[2], normalised_residue_ratio(residue, space, length), frame)
            continue
        for measure in measures:
            rows.none(measure, why)
    if len(known) == 3:
        other = max(0.0, known["total"] - known["valleculae"] - known["pyriform"])
        rows.value("residue_other", residue_pct(other, length), frame)  # type: ignore[arg-type]
    else:
        rows.none("residue_other", late if frame is None else "valleculae or pyriform sinuses not labelled")
