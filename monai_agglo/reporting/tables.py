"""CSV tables of measures, events and curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.files import atomic_path
from monai_agglo.swallow import COLUMNS, CineMeasures, table_rows

from .corrections import Corrections

__all__ = ["EVENT_COLUMNS", "FILES", "write_tables"]

FILES = ("measurements.csv", "events.csv", "frames.csv")
EVENT_COLUMNS = (
    "swallow", "event", "definition", "frame_index", "frame_number", "time_s", "plus_minus_s", "origin", "reason",
)  # fmt: skip


def write_tables(
    folder: Path,
    found: CineMeasures,
    content: Mapping[str, Any],
    corrections: Corrections,
    masks: Mapping[str, np.ndarray],
    flagged: Sequence[int],
) -> list[Path]:
    """Write the three tables.

    Args:
        folder: output folder.
        found: the measures.
        content: content of ``measurements.json``.
        corrections: the reader's corrections.
        masks: masks by structure name, (H, W, T) each.
        flagged: 0-based frames rejected by the view check.

    Returns:
        The paths of the tables.
    """
    return [
        _write(folder / FILES[0], (*COLUMNS, "iddsi", "volume_ml"), _measures(found, corrections)),
        _write(folder / FILES[1], EVENT_COLUMNS, _events(content)),
        _write(folder / FILES[2], *_frames(content, masks, flagged)),
    ]


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Path:
    with atomic_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    return path


def _measures(found: CineMeasures, corrections: Corrections) -> list[dict[str, Any]]:
    rows = []
    for row in table_rows(found):
        k = row["swallow"] - 1
        given = corrections.swallows[k] if k < len(corrections.swallows) else None
        rows.append({**row, "iddsi": _cell(given and given.iddsi), "volume_ml": _cell(given and given.volume_ml)})
    return rows


def _events(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "swallow": swallow["number"],
            "event": name,
            **{column: _cell(event[column]) for column in EVENT_COLUMNS[2:7]},
            "origin": "reader" if name in swallow["corrected_events"] else "automatic",
            "reason": event["reason"],
        }
        for swallow in content["swallows"]
        for name, event in swallow["events"].items()
    ]


def _frames(
    content: Mapping[str, Any], masks: Mapping[str, np.ndarray], flagged: Sequence[int]
) -> tuple[list[str], list[dict[str, Any]]]:
    count, times = content["frames"]["count"], content["frames"]["times_s"]
    columns: dict[str, Sequence[Any]] = {
        "frame_index": range(count),
        "frame_number": range(1, count + 1),
        "time_s": times or [""] * count,
        "looks_lateral": [int(t not in set(flagged)) for t in range(count)],
    }
    for name, mask in masks.items():
        columns[f"{name}_area_px"] = np.asarray(mask).sum(axis=(0, 1)).tolist()
    if content["airway"]:
        columns["bolus_over_airway_px"] = content["airway"]["overlap_px"]
    for name, values in content["curves"].items():
        if values is None:
            continue
        if values and isinstance(values[0], (list, tuple)):
            axes = ("x", "y") if name.endswith("_px") else ("anterior", "inferior")
            stem, unit = name.rsplit("_", 1)
            for axis, label in enumerate(axes):
                columns[f"{stem}_{label}_{unit}"] = [None if v is None else v[axis] for v in values]
        else:
            columns[name] = values
    rows = [{name: _cell(values[t]) for name, values in columns.items()} for t in range(count)]
    return list(columns), rows


def _cell(value: Any) -> Any:
    return "" if value is None else round(value, 5) if isinstance(value, float) else value
