"""The record of a segmented cine, ``predict.json``, and its summary for people."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata as distributions
from typing import Any

import numpy as np

from monai_agglo import __version__
from monai_agglo.cine.cine import Cine
from monai_agglo.pictures.contact_sheet import DISCLAIMER

from .segmenter import Segmenter
from .view_check import FrameView, ViewCheck, view_record

__all__ = ["cine_lines", "cine_record", "cine_warnings", "known_facts"]

KIND, VERSION = "monai_agglo.predict", 1
SOURCE_KEYS = ("source_format", "modality", "photometric", "bits_stored", "lossy", "mask_subtraction", "view")


def known_facts(cine: Cine, fps: float | None, spacing_mm: tuple[float, float] | None) -> dict[str, Any]:
    """The cine's metadata with the values given by the user.

    Args:
        cine: the cine.
        fps: frames per second, None for the times of the file.
        spacing_mm: pixel spacing (row, column), None for that of the file.
    """
    meta = dict(cine.meta)
    if fps is not None:
        times = [1000 * i / fps for i in range(cine.shape[2])]
        meta.update(frame_times_ms=times, time_source="given by the user", time_assumed=False)
    if spacing_mm is not None:
        meta.update(spacing_mm=spacing_mm, spacing_source="given by the user", spacing_known=True)
    return meta


def cine_record(
    meta: dict[str, Any],
    shape: tuple[int, int, int],
    areas: np.ndarray,
    segmenter: Segmenter,
    check: ViewCheck | None,
    views: Sequence[FrameView],
) -> dict[str, Any]:
    """Everything about a result but its pixels. No name, id, date, UID or path is in it.

    Args:
        meta: metadata of the cine, with ``repeated_frames`` and ``effective_fps``.
        shape: (rows, columns, frames).
        areas: (T, S) pixels per frame and structure.
        segmenter: what made the masks.
        check: the bundle's view check, if it has one.
        views: its verdict on each frame.

    Returns:
        JSON-able dictionary, see docs/how-to/segment.md.
    """
    spacing = meta.get("spacing_mm")
    times = meta.get("frame_times_ms")
    return {
        "kind": KIND,
        "format_version": VERSION,
        "intended_use": DISCLAIMER,
        "source": {
            "pseudonym": meta["pseudonym"],
            "patient_pseudonym": meta.get("patient_pseudonym"),
            "rows": shape[0],
            "columns": shape[1],
            **{key: _plain(meta.get(key)) for key in SOURCE_KEYS},
        },
        "frames": {
            "count": shape[2],
            "frame_times_ms": None if times is None else [round(float(t), 4) for t in times],
            "time_source": meta.get("time_source"),
            "time_assumed": bool(meta.get("time_assumed")),
            "effective_fps": _plain(meta.get("effective_fps")),
            "repeated_frames": [int(i) for i in meta.get("repeated_frames") or []],
        },
        "spacing": {
            "spacing_mm": None if spacing is None else [float(value) for value in spacing],
            "spacing_known": bool(meta.get("spacing_known")),
            "spacing_source": meta.get("spacing_source"),
        },
        "structures": [
            {
                "channel": channel,
                "id": s.id,
                "name": s.name,
                "title": s.title,
                "color": list(s.color),
                "code": dict(zip(("value", "scheme", "meaning"), s.code)),
            }
            for channel, s in enumerate(segmenter.structures)
        ],
        "area_px": {s.name: [int(a) for a in areas[:, i]] for i, s in enumerate(segmenter.structures)},
        "view": None if check is None else view_record(check, views),
        "model": {
            **segmenter.identity(),
            "threshold": segmenter.threshold,
            "device": segmenter.device.partition(":")[0],
            "runtime": segmenter.runtime.name,
            "precision": segmenter.runtime.precision,
        },
        "software": {
            "monai_agglo": __version__,
            **_versions(segmenter.runtime.name),
            "python": platform.python_version(),
        },
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def cine_warnings(record: dict[str, Any], check: ViewCheck | None) -> list[str]:
    """Warnings, one sentence each, the most severe first.

    Args:
        record: from :func:`cine_record`.
        check: the bundle's view check, if it has one.

    Returns:
        Sentences; empty when there is no warning.
    """
    view, frames, source = record["view"], record["frames"], record["source"]
    found = []
    if view is None:
        found.append("This bundle has no view check: whether this is lateral VFSS was not examined.")
    else:
        if not view["looks_like_lateral_vfss"]:
            found.append(f"This does not look like lateral VFSS ({view['reason']}): do not use the masks.")
        elif view["flagged"]:
            found.append(f"{len(view['flagged'])} of {frames['count']} frames do not look like lateral VFSS.")
        fitted = check.provenance.get("weights_sha256") if check else None
        if fitted != record["model"]["weights_sha256"]:
            found.append("The view check was fitted for other weights: its verdict may be wrong.")
    if not any(any(areas) for areas in record["area_px"].values()):
        found.append("No structure was found in any frame.")
    if source["view"] == "ap":
        found.append("The file says that this is a frontal (AP) view; the model knows lateral views only.")
    if frames["count"] > 1:
        if frames["frame_times_ms"] is None:
            found.append("The file states no timing: frames only, no seconds.")
        elif frames["time_assumed"]:
            found.append(f"Times are assumed from a display rate ({frames['time_source']}): durations may be wrong.")
    if frames["repeated_frames"]:
        rate = f"; {frames['effective_fps']:.3g} different frames per second" if frames["effective_fps"] else ""
        found.append(f"{len(frames['repeated_frames'])} frames repeat the frame before{rate}.")
    if not record["spacing"]["spacing_known"]:
        found.append("No calibrated pixel spacing: lengths in pixels only.")
    if source["mask_subtraction"]:
        found.append("The file asks for mask subtraction; it was not applied.")
    if source["lossy"]:
        found.append("The pixels were compressed with loss.")
    return found


def _versions(runtime: str) -> dict[str, str]:
    """Versions of the packages that made the masks."""
    names = ("numpy", "torch", "monai") if runtime == "torch" else ("numpy", runtime)
    return {name: distributions.version(name) for name in names}


def cine_lines(record: dict[str, Any]) -> list[str]:
    """Header lines of the contact sheet.

    Args:
        record: from :func:`cine_record`.

    Returns:
        Short lines.
    """
    frames, source, spacing = record["frames"], record["source"], record["spacing"]
    size = f"{source['columns']} x {source['rows']} pixels, {frames['count']} frame{'s' * (frames['count'] != 1)}"
    if frames["effective_fps"]:
        size += f", {frames['effective_fps']:.3g} per second ({frames['time_source']})"
    if spacing["spacing_mm"]:
        known = "" if spacing["spacing_known"] else ", not calibrated"
        size += f", {spacing['spacing_mm'][0]:.3g} mm per pixel ({spacing['spacing_source']}{known})"
    lines = [size]
    view = record["view"]
    if view is not None and view["looks_like_lateral_vfss"]:
        facing = f", facing {view['facing']}" if view["facing"] else ""
        lines.append(f"Looks like lateral VFSS (score {view['score']:.2f}){facing}")
    model = record["model"]
    lines.append(f"Model: {model['bundle']} {model['version'] or ''}, weights {model['weights_sha256'][:12]}")
    return lines
