"""Measure segmented cines from the masks of ``predict`` or from other mask files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.files import atomic_path, write_json
from monai_agglo.outputs import RECORD
from monai_agglo.swallow import COLUMNS, NAMES, TARGET_NAMES, CineMeasures, measure, perturbed, table_rows, with_spread

__all__ = ["MaskedCine", "load_masks", "measure_case", "measure_masks", "view_of", "write_measures"]

MASKS, JSON, CSV = "masks.nii.gz", "measurements.json", "measurements.csv"


@dataclass(frozen=True)
class MaskedCine:
    """Masks of a cine with its metadata.

    Args:
        masks: masks by structure name, (H, W, T) each.
        options: arguments of :func:`monai_agglo.swallow.measure`.
        record: content of ``predict.json``; empty without one.
    """

    masks: dict[str, np.ndarray]
    options: dict[str, Any]
    record: dict[str, Any] = field(default_factory=dict, repr=False)


def load_masks(source: str | os.PathLike) -> MaskedCine:
    """Read a result folder of ``predict``, or a mask file.

    Args:
        source: the folder, its ``predict.json``, or a NIfTI file (rows, columns, frames, structures) with 12 or 18
            structures in table order. A ``predict.json`` beside the file is read too.

    Returns:
        Masks and options.

    Raises:
        FileNotFoundError: no masks.
        ValueError: the masks are invalid or inconsistent with the record.
    """
    import nibabel

    path = Path(source)
    path = path / MASKS if path.is_dir() else path.with_name(MASKS) if path.name == RECORD else path
    if not path.is_file():
        raise FileNotFoundError(f"{source}: contains no {MASKS}; give a result folder of predict, or a mask file")
    try:
        array = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as NIfTI ({type(error).__name__})") from None
    record: dict[str, Any] = {}
    if path.with_name(RECORD).is_file():
        record = json.loads(path.with_name(RECORD).read_text(encoding="utf-8"))
    names = [item["name"] for item in record["structures"]] if record else None
    if names is None and array.ndim == 4:
        names = list(NAMES if array.shape[3] == len(NAMES) else TARGET_NAMES)
    if array.ndim != 4 or names is None or array.shape[3] != len(names):
        raise ValueError(
            f"{path}: masks must be (rows, columns, frames, structures) with {len(TARGET_NAMES)} or {len(NAMES)} "
            f"structures, not {array.shape}"
        )
    if array.max(initial=0) > 1:
        raise ValueError(f"{path}: masks must contain 0 and 1 only, not {array.max()}")
    masks = {name: array[..., k].astype(bool, copy=False) for k, name in enumerate(names)}
    return MaskedCine(masks, _options(record, array.shape[2], path), record)


def _options(record: dict[str, Any], count: int, path: Path) -> dict[str, Any]:
    if not record:
        return {}
    frames, spacing = record["frames"], record["spacing"]
    if frames["count"] != count:
        raise ValueError(f"{path}: {count} frames, but {frames['count']} in its {RECORD}")
    return {
        "frame_times_ms": frames["frame_times_ms"],
        "repeated_frames": frames["repeated_frames"],
        "spacing_mm": tuple(spacing["spacing_mm"]) if spacing["spacing_known"] else None,
        "view": view_of(record),
    }


def view_of(record: dict[str, Any]) -> str:
    """View of a segmented cine.

    Args:
        record: content of ``predict.json``.

    Returns:
        ``"ap"`` if stated by the file; otherwise ``"lateral"`` or ``"unknown"`` by the view check, or without one
        ``"lateral"`` if stated by the file.
    """
    stated, check = record["source"].get("view"), record.get("view")
    if stated == "ap":
        return "ap"
    if check is not None:
        return "lateral" if check["looks_like_lateral_vfss"] else "unknown"
    return "lateral" if stated == "lateral" else "unknown"


def measure_masks(case: MaskedCine, repeats: int = 0, seed: int = 0, **options: Any) -> CineMeasures:
    """Measure a cine, with uncertainties from perturbed masks.

    Args:
        case: masks and metadata.
        repeats: number of measurements on perturbed masks; 0 for no uncertainties.
        seed: seed of the perturbations.
        options: arguments of :func:`monai_agglo.swallow.measure` that override those of the case.

    Returns:
        The measures.
    """
    options = {**case.options, **options}
    found = measure(case.masks, **options)
    if not repeats or not found.rows:
        return found
    rng = np.random.default_rng(seed)
    again = [measure(perturbed(case.masks, rng), **options) for _ in range(repeats)]
    return with_spread(found, again)


def write_measures(found: CineMeasures, folder: str | os.PathLike) -> tuple[Path, Path]:
    """Write ``measurements.json`` and ``measurements.csv``.

    Args:
        found: the measures.
        folder: output folder, created if needed; existing files are replaced.

    Returns:
        The two paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON, found.to_json())
    with atomic_path(folder / CSV) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(table_rows(found))
    return folder / JSON, folder / CSV


def measure_case(
    source: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    view: str | None = None,
    fps: float | None = None,
    repeats: int = 4,
    iddsi: Sequence[int] = (),
    least_airway_pct: float = 0.1,
) -> tuple[CineMeasures, tuple[Path, Path]]:
    """Measure the masks of a cine and write the files.

    Args:
        source: see :func:`load_masks`.
        output: output folder; by default that of the masks.
        view: ``lateral``, ``ap`` or ``unknown``; overrides the record.
        fps: frames per second; overrides the record.
        repeats: see :func:`measure_masks`.
        iddsi: consistency of each swallow, IDDSI level 0 to 4.
        least_airway_pct: smallest flagged overlap of bolus and airway, %(C2-4)^2.

    Returns:
        The measures and the paths of the files.

    Raises:
        FileNotFoundError: no masks.
        ValueError: the masks cannot be measured, or an argument is invalid.
    """
    if fps is not None and not 0 < fps <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000, not {fps}")
    case = load_masks(source)
    options: dict[str, Any] = {"iddsi": tuple(iddsi), "least_airway_pct": least_airway_pct}
    if view is not None:
        options["view"] = view
    elif "view" not in case.options:
        options["view"] = "unknown"
    if fps is not None:
        count = next(iter(case.masks.values())).shape[2]
        options["frame_times_ms"] = [1000 * k / fps for k in range(count)]
    found = measure_masks(case, repeats, **options)
    path = Path(source)
    return found, write_measures(found, output or (path if path.is_dir() else path.parent))
