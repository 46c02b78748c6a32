"""Content of the report page and of ``measurements.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from monai_agglo.swallow import STRUCTURES, CineMeasures

from .corrections import Corrections
from .pictures import outline_masks
from .verdict import verdict_of

__all__ = ["measures_content", "page_content"]

HIDDEN = ("other", "ap")
"""Verdicts without masks on the page: the network is trained on lateral views only."""


def measures_content(
    found: CineMeasures,
    automatic: CineMeasures,
    record: Mapping[str, Any],
    corrections: Corrections,
    masks: Mapping[str, Any],
    notes: list[str],
    verdict: Mapping[str, str],
) -> dict[str, Any]:
    """Create the content of ``measurements.json``.

    Args:
        found: measures with the reader's corrections.
        automatic: measures without corrections.
        record: content of ``predict.json``.
        corrections: the reader's corrections.
        masks: ``origin`` and ``sha256`` of the masks.
        notes: warnings in addition to those of the measures.
        verdict: see :func:`~monai_agglo.reporting.verdict.verdict_of`.

    Returns:
        JSON-serialisable dictionary, see docs/how-to/report.md.
    """
    content = found.to_json()
    for k, swallow in enumerate(content["swallows"]):
        given = corrections.swallows[k] if k < len(corrections.swallows) else None
        before = automatic.swallows[k].events
        swallow["iddsi"] = given.iddsi if given else None
        swallow["volume_ml"] = given.volume_ml if given else None
        swallow["corrected_events"] = sorted(given.events) if given else []
        swallow["automatic_events_frame_index"] = {name: before.get(name) for name in swallow["events"]}
    own = content["warnings"] if verdict["kind"] == "lateral" else []  # otherwise stated by the verdict
    content["warnings"] = list(dict.fromkeys([*notes, *own]))
    content["verdict"] = dict(verdict)
    content["masks"] = dict(masks)
    content["source"] = record["source"]
    content["frames"] |= {key: record["frames"].get(key) for key in ("time_source", "time_assumed", "effective_fps")}
    content["model"], content["software"] = record["model"], record["software"]
    content["corrections"] = corrections.to_json() if corrections.swallows else None
    return content


def page_content(
    content: Mapping[str, Any],
    record: Mapping[str, Any],
    masks: Mapping[str, np.ndarray],
    corrections: Corrections,
    made: str,
) -> dict[str, Any]:
    """Create the content of the page except the frames.

    Args:
        content: content of ``measurements.json``.
        record: content of ``predict.json``.
        masks: masks by structure name, (H, W, T) bool.
        corrections: the reader's corrections.
        made: date and time of the report, as text.

    Returns:
        JSON-serialisable dictionary.
    """
    hidden = content["verdict"]["kind"] in HIDDEN
    outlines = outline_masks({} if hidden else masks)
    view, source = record["view"], record["source"]
    return {
        "pseudonym": source["pseudonym"],
        "made": made,
        "size": {"rows": source["rows"], "columns": source["columns"]},
        "structures": [
            {"name": s.name, "title": s.title, "color": list(s.color), "priority": s.priority}
            for s in STRUCTURES
            if s.name in outlines.index
        ],
        "outlines": vars(outlines),
        "not_lateral": view["flagged"] if view else [],
        "measures": dict(content),
        "corrections": [swallow.to_json() for swallow in corrections.swallows],
        "provenance": _provenance(content, record, made),
    }


def _provenance(content: Mapping[str, Any], record: Mapping[str, Any], made: str) -> list[list[str]]:
    """Provenance of the results as pairs of label and text."""
    source, frames, spacing, model = record["source"], record["frames"], record["spacing"], record["model"]
    view, check = record["view"], verdict_of(dict(record))
    known = spacing["spacing_mm"]
    kind = str(source.get("source_format") or "").replace("dicom", "DICOM")
    mm = "unknown" if not known else f"{known[0]:.4g} x {known[1]:.4g} mm per pixel ({spacing['spacing_source']})"
    lossy = ", lossy compression" if source.get("lossy") else ""
    rate = frames.get("effective_fps")
    times = "unknown" if frames["frame_times_ms"] is None else f"{frames['time_source']}"
    times += f", {rate:.4g} different frames per second" if rate else ""
    times += ", assumed from a display rate" if frames["time_assumed"] else ""
    given = [k for k, item in enumerate(content["swallows"], 1) if item["corrected_events"]]
    sha = content["masks"]["sha256"]
    lines = [
        ("Cine", f"pseudonym {source['pseudonym']}"),
        ("Patient", f"pseudonym {source['patient_pseudonym']}" if source.get("patient_pseudonym") else "no id"),
        ("Images", f"{kind} {source.get('modality') or ''}, {source['columns']} x "
         f"{source['rows']} pixels, {frames['count']} frames{lossy}".strip()),
        ("Frame times", times),
        ("Repeated frames", str(len(frames["repeated_frames"]))),
        ("Pixel spacing", mm + ("" if spacing["spacing_known"] or not known else ", not calibrated")),
        ("View check", "not available for this model" if view is None else
         f"{check['headline']} (score {view['score']:.2f}, limit {view['threshold']:.2f}, "
         f"{len(view['flagged'])} of {frames['count']} frames doubtful)"),
        ("Masks", content["masks"]["origin"] + (f", file SHA-256 {sha[:16]}..." if sha else "")),
        ("Events", "detected automatically"
         + (f"; corrected by a reader in swallow {', '.join(map(str, given))}" if given else "")),
        ("Model", f"{model['bundle']} {model.get('version') or ''}, weights SHA-256 {model['weights_sha256'][:16]}..."),
        ("Threshold", f"{model['threshold']:g}"),
        ("Software", ", ".join(f"{name} {version}" for name, version in record["software"].items())),
        ("Report created", made),
    ]  # fmt: skip
    return [list(line) for line in lines]
