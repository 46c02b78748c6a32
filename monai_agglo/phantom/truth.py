"""Ground truth of a synthetic study, ``truth.json``.

Keys (:data:`TRUTH_SCHEMA` is the JSON Schema):

- ``format``: ``"monai-agglo/phantom-truth/1"``; ``synthetic``: always true.
- ``generator``: ``name``, ``version`` (changes with the pixels of a spec) and ``package`` version.
- ``seed`` and ``spec``: every parameter; ``PhantomSpec.from_dict(truth["spec"])`` reproduces the study.
- ``structures``: names of the mask channels, in order.
- ``hidden``: invisible vertebrae in the field (behind a shoulder), without masks.
- ``frames``: ``count`` in the file, ``study_count`` in the whole study, ``study_index`` (index of each frame
  in the study; 0, 1, 2... unless only some were written), ``time_ms`` from the start of the study.
- ``swallows``: one entry per swallow, with ``events`` (name -> null when outside the recording, else ``study_index``,
  ``frame_index`` and ``frame_number`` in this file (from 0 and from 1; null when that frame was not written) and
  ``time_ms``) and ``quantities`` (exact values of the model, units in the names).
- ``quantities``: those of the whole study (scale).
- ``area_px``: structure -> pixels per frame of the file.
- ``pixel_spacing_patient_mm``: size of a pixel in the patient's plane, mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import __version__
from ..swallow.structures import NAMES
from .study_model import PhantomStudy

__all__ = ["GENERATOR_VERSION", "TRUTH_SCHEMA", "study_truth"]

GENERATOR_VERSION = "5"
"""Increase it with every change of pixels or masks of a spec; prevents mixing old and new studies."""

FORMAT = "monai-agglo/phantom-truth/1"

_INDEX = {"type": ["integer", "null"], "minimum": 0}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_EVENT = {
    "type": ["object", "null"],
    "required": ["study_index", "frame_index", "frame_number", "time_ms"],
    "properties": {
        "study_index": {"type": "integer", "minimum": 0},
        "frame_index": _INDEX,
        "frame_number": {"type": ["integer", "null"], "minimum": 1},
        "time_ms": {"type": "number", "minimum": 0},
    },
    "additionalProperties": False,
}
TRUTH_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": [
        "format", "synthetic", "generator", "seed", "spec", "structures", "hidden", "frames", "swallows", "quantities",
        "area_px", "pixel_spacing_patient_mm",
    ],
    "properties": {
        "format": {"const": FORMAT},
        "synthetic": {"const": True},
        "generator": {
            "type": "object",
            "required": ["name", "version", "package"],
            "additionalProperties": {"type": "string"},
        },
        "seed": {"type": "integer", "minimum": 0},
        "spec": {"type": "object"},
        "structures": {"const": list(NAMES)},
        "hidden": {"type": "array", "items": {"enum": [f"c{level}" for level in range(1, 8)]}},
        "frames": {
            "type": "object",
            "required": ["count", "study_count", "study_index", "time_ms"],
            "properties": {
                "count": {"type": "integer", "minimum": 1},
                "study_count": {"type": "integer", "minimum": 1},
                "study_index": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "time_ms": _NUMBERS,
            },
            "additionalProperties": False,
        },
        "swallows": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["events", "quantities"],
                "properties": {
                    "events": {"type": "object", "additionalProperties": _EVENT},
                    "quantities": {"type": "object", "additionalProperties": {"type": ["number", "string", "null"]}},
                },
                "additionalProperties": False,
            },
        },
        "quantities": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        "area_px": {
            "type": "object",
            "required": list(NAMES),
            "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
        "pixel_spacing_patient_mm": {"type": "number", "exclusiveMinimum": 0},
    },
    "additionalProperties": False,
}  # fmt: skip


def study_truth(study: PhantomStudy, frames: Sequence[int], areas_px: np.ndarray) -> dict[str, Any]:
    """The content of ``truth.json``.

    Args:
        study: the study.
        frames: indices of the frames in the file, in order.
        areas_px: (T, 18) area per frame and structure, pixels.

    Returns:
        JSON-able built-ins, see the module's docstring and :data:`TRUTH_SCHEMA`.
    """
    spec = study.spec
    times = np.round(np.asarray(study.frame_times_ms, float), 4)
    position = {int(t): k for k, t in reversed(list(enumerate(frames)))}
    quantities = dict(study.quantities)
    per_swallow = quantities.pop("swallows", [])

    def event(t: int | None) -> dict[str, Any] | None:
        if t is None:
            return None
        k = position.get(int(t))
        number = None if k is None else k + 1
        return {"study_index": int(t), "frame_index": k, "frame_number": number, "time_ms": float(times[t])}

    areas = np.asarray(areas_px, int).reshape(len(frames), len(NAMES))
    return {
        "format": FORMAT,
        "synthetic": True,
        "generator": {"name": "monai_agglo.phantom", "version": GENERATOR_VERSION, "package": __version__},
        "seed": int(spec.seed),
        "spec": spec.to_dict(),
        "structures": list(NAMES),
        "hidden": list(study.hidden),
        "frames": {
            "count": len(frames),
            "study_count": int(study.n_frames),
            "study_index": [int(t) for t in frames],
            "time_ms": [float(times[t]) for t in frames],
        },
        "swallows": [
            {"events": {name: event(t) for name, t in events.items()}, "quantities": values}
            for events, values in zip(study.swallows, per_swallow)
        ],
        "quantities": quantities,
        "area_px": {name: areas[:, i].tolist() for i, name in enumerate(NAMES)},
        "pixel_spacing_patient_mm": spec.pixel_spacing_mm / spec.magnification,
    }
