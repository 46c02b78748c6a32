"""Create ``datalist.json`` for a data set: pair cines with masks, split by patient."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.cine.masks import read_cine_masks
from monai_agglo.files import write_json
from monai_agglo.swallow import STRUCTURES, index_of

from .cine import open_cine
from .identity import pseudonym
from .png_masks import PNG_SUFFIX, png_shape
from .search import Case, find_cases

__all__ = ["DatalistReport", "make_datalist", "split_by_patient"]

PARTS = ("training", "validation", "test")
WORDS = r"(?:masks?|labels?|seg|segmentations?)"
SUFFIX = r"\.(?:nii|nii\.gz|nrrd|nhdr|mha|png)"
MASK_FILE = re.compile(rf"(?:(?P<cine>.+)[-_. ])?{WORDS}{SUFFIX}", re.I)
"""``masks.nii.gz`` beside a single cine, or ``<cine>_mask.nrrd``."""
MASK_FOLDER = re.compile(rf"{WORDS}(?:tr|ts)?", re.I)
"""``labelsTr/<cine>.nii.gz``, or MONAI Label's ``labels/final/<cine>.nii.gz``."""


@dataclass
class DatalistReport:
    """Summary of a datalist.

    Args:
        path: the ``datalist.json``.
        cases: number of cases per part.
        patients: number of patients per part.
        left_out: excluded files, as given by the user, and the reasons.
    """

    path: Path
    cases: dict[str, int]
    patients: dict[str, int]
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"  {part:11}{self.cases[part]:4} cases of {self.patients[part]} patients" for part in PARTS]
        left = [f"  left out: {shown}: {why}" for shown, why in self.left_out]
        if not self.cases["validation"]:
            left.append("  training needs a validation patient: add studies, or move a patient in the list")
        return "\n".join([str(self.path), *parts, *left])


def make_datalist(
    folder: str | os.PathLike[str],
    splits: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    structures: Sequence[str] | None = None,
    drawn_frames: bool = False,
    progress: bool = False,
) -> DatalistReport:
    """Write ``datalist.json`` for a folder of cines and masks.

    The masks of a cine are ``<cine>_masks.nii.gz`` (or mask, label, seg; .nrrd, .mha; .png for a still without
    another), ``masks.nii.gz`` beside a single cine or series, or a file of the cine's name in a folder called labels or
    masks. An existing list is updated: patients stay in their part and manual additions to a case are kept.

    Args:
        folder: data set folder, searched recursively.
        splits: fractions of patients for training, validation and test.
        seed: seed of the split.
        structures: names of the labelled structures of every case; None for all structures of the table.
        drawn_frames: count only frames with a non-empty mask as labelled.
        progress: show a progress bar.

    Returns:
        The summary.

    Raises:
        ValueError: the folder contains no cine with masks, or an argument is invalid.
    """
    from tqdm import tqdm

    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(f"{folder} is not a folder")
    if len(splits) != 3 or min(splits) < 0 or abs(sum(splits) - 1) > 1e-6:
        raise ValueError(
            f"splits must be three fractions that sum to 1 (training, validation, test), not {tuple(splits)}"
        )
    for name in structures or ():
        index_of(name)
    path = root / "datalist.json"
    before = _earlier(path)
    files = {p: None for p in sorted(root.rglob("*")) if _is_mask(p.relative_to(root)) and p.is_file()}
    cines = [case for case in find_cases(root) if case.paths[0] not in files]
    report = DatalistReport(path, {}, {})
    items, used = [], set()
    for case in tqdm(cines, desc="cines", unit="cine", disable=None if progress else True, delay=2):
        try:
            mask = _mask_of(case, files, cines)
            used.add(mask)
            item = _item(case, mask, root)
            only = structures[0] if structures and len(structures) == 1 else None
            shape = item.pop("shape")
            if structures:
                item["labelled_structures"] = list(structures)
            if drawn_frames or mask.suffix.lower() == PNG_SUFFIX:  # a PNG may be an image instead of masks
                drawn = _drawn(mask, shape, only)
                if drawn_frames:
                    item["labelled_frames"] = drawn
        except (ValueError, OSError) as error:
            text = " ".join(str(error).split()).removeprefix(f"{case.shown}: ")
            report.left_out.append((case.shown, text))
            continue
        old = before.get(item["image"], {})
        items.append({**old, **item, "patient_id": old.get("patient_id", item["patient_id"])})
    report.left_out += [(str(p), "masks without a cine of that name") for p in files if p not in used]
    if not items:
        why = f"; {report.left_out[0][0]}: {report.left_out[0][1]}" if report.left_out else ""
        raise ValueError(f"{folder} contains no cine with masks (see docs/how-to/train.md){why}")
    known = {item["patient_id"]: item["part"] for item in before.values() if item.get("part")}
    part_of = split_by_patient([item["patient_id"] for item in items], splits, seed, known)
    _write(path, items, part_of, report)
    return report


def split_by_patient(
    patients: Sequence[str], splits: Sequence[float], seed: int = 0, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Assign patients to training, validation and test.

    Args:
        patients: pseudonymous ids, with repeats; their order does not matter.
        splits: fractions of the three parts.
        seed: seed of the split.
        known: fixed parts of known patients.

    Returns:
        The part of each patient. With enough patients, no part with a fraction above 0 is empty.
    """
    ids = sorted(set(patients), key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).digest())
    part_of = {patient: known[patient] for patient in ids if known and patient in known}
    wanted = {part: fraction * len(ids) for part, fraction in zip(PARTS, splits) if fraction > 0}
    for patient in ids:
        if patient not in part_of:
            counts = {part: list(part_of.values()).count(part) for part in wanted}
            empty = [part for part in wanted if not counts[part]]
            if empty:  # training first, then validation
                part_of[patient] = empty[0]
            else:
                part_of[patient] = max(wanted, key=lambda part: wanted[part] - counts[part])
    return part_of


def _is_mask(path: Path) -> bool:
    """Whether a file contains masks, by its name and folders relative to the data set."""
    if not re.search(rf"{SUFFIX}$", path.name, re.I) or any(part.startswith(".") for part in path.parts):
        return False
    return bool(MASK_FILE.fullmatch(path.name)) or any(MASK_FOLDER.fullmatch(part) for part in path.parts[:-1])


def _stem(name: str) -> str:
    name = re.sub(r"\.gz$", "", name, flags=re.I)
    return re.sub(r"\.[A-Za-z]\w{1,4}$", "", name).lower()


def _mask_of(case: Case, files: Iterable[Path], cines: Sequence[Case]) -> Path:
    """The mask file of a cine."""
    here = case.paths[0].parent
    series = len(case.paths) > 1
    stem = (here.name if series else _stem(case.paths[0].name)).lower()
    found = []
    for file in files:
        match = MASK_FILE.fullmatch(file.name)
        named = match["cine"].lower() if match and match["cine"] else None
        beside = file.parent == here or (series and file.parent == here.parent)
        if beside and named is not None and named in (stem, case.paths[0].name.lower()):
            found.append(file)
        elif match and named is None and file.parent == here:
            if sum(other.paths[0].parent == here for other in cines) > 1:
                raise ValueError(f"several cines beside {file.name}; name it after its cine")
            found.append(file)
        elif named is None and _stem(file.name) == stem and _near(file, here):
            found.append(file)
    found = [file for file in found if file.suffix.lower() != PNG_SUFFIX] or found
    if len(found) > 1:
        raise ValueError(f"has several mask files: {', '.join(sorted(file.name for file in found))}")
    if not found:
        raise ValueError("has no mask file")
    return found[0]


def _near(file: Path, here: Path) -> bool:
    """Whether a mask folder belongs to a cine folder: ``labels/final`` inside it, or ``labelsTr`` for ``imagesTr``."""
    owner = next((parent.parent for parent in file.parents if MASK_FOLDER.fullmatch(parent.name)), None)
    return owner is not None and here in (owner, *owner.glob("[Ii]mages*"))


def _item(case: Case, mask: Path, root: Path) -> dict[str, Any]:
    """Datalist item of a case, after a check of both files; ``shape`` is (rows, columns, frames)."""
    image = case.paths[0]
    if len(case.paths) > 1:
        image = image.parent
    cine = open_cine(image)  # fails for a folder with more than this series
    rows, cols, frames = cine.shape
    shape = _mask_shape(mask)
    if shape[:3] not in ((rows, cols, frames), (cols, rows, frames)) and (*shape, 1) != (rows, cols, frames):
        raise ValueError(
            f"{mask.name} has {' x '.join(map(str, shape))} values, the cine {rows} x {cols} pixels and {frames} frames"
        )
    folders = case.paths[0].relative_to(root).parts[:-1]
    patient = cine.meta.get("patient_pseudonym") or pseudonym(folders[0] if folders else str(image.name), "patient")
    names = {"image": image.relative_to(root).as_posix(), "label": mask.relative_to(root).as_posix()}
    return {**names, "patient_id": patient, "shape": cine.shape}


def _mask_shape(path: Path) -> tuple[int, ...]:
    """Shape of the array, read from the header."""
    try:
        if path.suffix.lower() == PNG_SUFFIX:
            return png_shape(path)
        if path.name.lower().endswith((".nii", ".nii.gz")):
            import nibabel

            return tuple(int(n) for n in nibabel.load(path).shape)  # type: ignore[attr-defined]
        import itk

        reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        return tuple(int(reader.GetDimensions(axis)) for axis in range(reader.GetNumberOfDimensions()))
    except ModuleNotFoundError:  # itk: the command line names its extra
        raise
    except Exception as error:  # each library has its own kinds
        raise ValueError(f"{path.name} cannot be read ({type(error).__name__})") from error


def _drawn(mask: Path, shape: Sequence[int], only: str | None) -> list[int]:
    """Frames with a non-empty mask."""
    frames = np.flatnonzero(read_cine_masks(mask, shape, only=only).any(axis=(0, 1, 2)))
    if not len(frames):
        raise ValueError(f"all masks in {mask.name} are empty")
    return [int(t) for t in frames]


def _earlier(path: Path) -> dict[str, dict[str, Any]]:
    """Cases of an existing list by image, each with its ``part``."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {item["image"]: {**item, "part": part} for part in PARTS for item in content.get(part, [])}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is not a datalist ({type(error).__name__}); move it away to create a new one"
        ) from error


def _write(path: Path, items: list[dict[str, Any]], part_of: Mapping[str, str], report: DatalistReport) -> None:
    parts: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    for item in items:
        parts[part_of[item["patient_id"]]].append({key: value for key, value in item.items() if key != "part"})
    report.cases = {part: len(parts[part]) for part in PARTS}
    report.patients = {part: len({item["patient_id"] for item in parts[part]}) for part in PARTS}
    labels = {"0": "background", **{str(s.id): s.name for s in STRUCTURES}}
    head = {"name": path.parent.resolve().name, "description": "swallow cines", "tensorImageSize": "2D+t"}
    write_json(path, {**head, "labels": labels, **parts})
