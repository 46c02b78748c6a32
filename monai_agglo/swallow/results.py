"""Measures as JSON content and as table rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .airway import LEVELS, NO_SCORE, AirwayFlags
from .bolus import BolusCurves
from .clock import Clock
from .definitions import DEFINITIONS
from .landmarks import Gate
from .measurement import Measurement
from .scale import Scale
from .timing import EVENTS, Swallow
from .tracks import Tracks

__all__ = ["COLUMNS", "RESEARCH_USE", "CineMeasures", "measures_json", "table_rows"]

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."
KIND, VERSION = "monai_agglo.measurements", 1
COLUMNS = (
    "swallow", "measure", "title", "value", "unit", "uncertainty", "plus_minus_s", "reference", "outside", "source",
    "frame_numbers", "reason", "note", "definition",
)  # fmt: skip


@dataclass(frozen=True)
class CineMeasures:
    """The measures of a cine.

    Args:
        view: ``"lateral"``, ``"ap"`` or ``"unknown"``.
        reason: why no swallow was measured; otherwise empty.
        clock: frame times.
        scale: C2-C4 scale and axis.
        labelled: names of the labelled structures.
        study: measures of the whole cine, by name.
        swallows: events of each swallow.
        rows: measures of each swallow, by name.
        bolus: curves of the bolus, None without scale or bolus.
        tracks: curves of the other structures, None without scale.
        airway: frames flagged for review, None if airway or bolus is not labelled.
        gate: the UES line.
        warnings: remarks for the reader, one sentence each.
    """

    view: str
    reason: str
    clock: Clock
    scale: Scale
    labelled: tuple[str, ...]
    study: dict[str, Measurement] = field(default_factory=dict)
    swallows: list[Swallow] = field(default_factory=list)
    rows: list[dict[str, Measurement]] = field(default_factory=list)
    bolus: BolusCurves | None = None
    tracks: Tracks | None = None
    airway: AirwayFlags | None = None
    gate: Gate | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-serialisable content with nan as None; see docs/reference/measurements.md."""
        return measures_json(self)


def measures_json(found: CineMeasures) -> dict[str, Any]:
    """Measures of a cine as JSON-serialisable content, with nan as None.

    Args:
        found: from :func:`~.measure.measure`.

    Returns:
        The content of ``measurements.json``, see docs/reference/measurements.md.
    """
    clock, scale = found.clock, found.scale
    return {
        "kind": KIND,
        "format_version": VERSION,
        "intended_use": RESEARCH_USE,
        "view": found.view,
        "facing": scale.facing,
        "reason": found.reason,
        "warnings": list(found.warnings),
        "frames": {
            "count": len(clock.pulse),
            "times_s": _numbers(clock.times_s),
            "one_frame_s": clock.frame_s,
        },
        "structures_labelled": list(found.labelled),
        "scale": {
            **{name: value.to_json() for name, value in found.study.items()},
            "variation_pct": _number(scale.variation_pct),
            "frames_filled": np.flatnonzero(scale.filled).tolist() if scale.known else [],
            "c2_px": _numbers(scale.c2) if scale.known else None,
            "c4_px": _numbers(scale.c4) if scale.known else None,
        },
        "swallows": [_swallow(found, k) for k in range(len(found.swallows))],
        "airway": _airway(found),
        "curves": _curves(found),
    }


def _swallow(found: CineMeasures, k: int) -> dict[str, Any]:
    swallow, clock = found.swallows[k], found.clock
    events = {}
    for name, text in EVENTS.items():
        frame = swallow.events.get(name)
        seen = frame is not None
        events[name] = {
            "definition": text,
            "frame_index": frame,
            "frame_number": frame + 1 if frame is not None else None,
            "time_s": _number(clock.between(0, frame)) if frame is not None else None,
            "plus_minus_s": _number(clock.plus_minus(frame)) if frame is not None else None,
            "reason": "" if seen else swallow.missing.get(name, "not found"),
        }
    flags = found.airway
    return {
        "number": k + 1,
        "first_frame": swallow.start,
        "last_frame": swallow.stop - 1,
        "events": events,
        "measures": [
            {"title": DEFINITIONS[name].title, "definition": DEFINITIONS[name].formula, **value.to_json()}
            for name, value in found.rows[k].items()
        ],
        "airway_deepest": None if flags is None else flags.deepest(slice(swallow.start, swallow.stop)),
    }


def _airway(found: CineMeasures) -> dict[str, Any] | None:
    flags = found.airway
    if flags is None:
        return None
    frames = np.flatnonzero(flags.flagged)
    return {
        "note": NO_SCORE,
        "flagged_frames": frames.tolist(),
        "levels": [LEVELS[int(level)] for level in flags.level[frames]],
        "depth": _numbers(flags.depth[frames]),
        "depth_unit": "C2-4" if found.scale.known else "px",
        "overlap_px": flags.overlap_px.tolist(),
        "deepest": flags.deepest(slice(None)),
    }


def _curves(found: CineMeasures) -> dict[str, Any]:
    curves, tracks, scale = found.bolus, found.tracks, found.scale
    out: dict[str, Any] = {}
    if curves is not None:
        out |= {
            "bolus_area_pct": curves.area_pct,
            "bolus_pharynx_pct": curves.pharyngeal_pct,
            "bolus_centroid_px": curves.centroid,
            "bolus_head_px": curves.head,
            "bolus_tail_px": curves.tail,
            "ues_width_pct": 100 * curves.ues_width,
        }
    if tracks is not None:
        if tracks.ues_px is not None:
            out["ues_width_pct"] = 100 * tracks.ues_px / scale.length_px
        out |= {
            "hyoid_pct": None if tracks.hyoid is None else 100 * tracks.hyoid,
            "epiglottic_angle_deg": tracks.epiglottic_angle,
            "pharynx_pct": None if tracks.pharynx_px is None else scale.area_pct(tracks.pharynx_px),
            "vestibule_pct": None if tracks.vestibule_px is None else scale.area_pct(tracks.vestibule_px),
        }
    return {name: _numbers(values) for name, values in out.items()}


def table_rows(found: CineMeasures) -> list[dict[str, Any]]:
    """Measures as table rows, one per swallow and measure.

    Args:
        found: from :func:`~.measure.measure`.

    Returns:
        Dictionaries with the keys :data:`COLUMNS`; missing values are empty strings, ``swallow`` counts from 1.
    """
    rows = []
    for k, measures in enumerate(found.rows):
        for name, value in measures.items():
            content = value.to_json()
            rows.append(
                {
                    "swallow": k + 1,
                    "measure": name,
                    "title": DEFINITIONS[name].title,
                    "value": _cell(content["value"]),
                    "unit": value.unit,
                    "uncertainty": _cell(content["uncertainty"]),
                    "plus_minus_s": _cell(content["plus_minus"]),
                    "reference": value.reference,
                    "outside": _cell(value.outside),
                    "source": value.source,
                    "frame_numbers": " ".join(str(frame + 1) for frame in value.frames),
                    "reason": value.reason,
                    "note": value.note,
                    "definition": DEFINITIONS[name].formula,
                }
            )
    return rows


def _cell(value: Any) -> Any:
    return "" if value is None else value


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _numbers(values: np.ndarray | None) -> Any:
    """Lists rounded to five decimals, nan as None; a point with a nan coordinate is None."""
    if values is None:
        return None
    values = np.asarray(values, float)
    if values.ndim == 2:
        return [row.tolist() if np.isfinite(row).all() else None for row in np.round(values, 5)]
    return [None if not np.isfinite(v) else round(float(v), 5) for v in values]
