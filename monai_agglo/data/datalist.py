"""Datalists: cines, masks and the split of patients into training, validation and test."""

from __future__ import annotations

import json
import os
from pathlib import Path

from monai_agglo.swallow import index_of

__all__ = ["describe_datalist", "load_datalist"]


def load_datalist(dataset_dir: str | os.PathLike, part: str = "training", optional: bool = False) -> list[dict]:
    """Read one part of a MONAI decathlon-style datalist.

    Args:
        dataset_dir: folder with a ``datalist.json``, or the file itself; its paths are relative to its folder.
        part: ``training``, ``validation`` or ``test``.
        optional: an absent or empty part gives an empty list.

    Returns:
        Cases with absolute ``image`` and ``label`` paths, ``patient_id`` and all other entries of the case.

    Raises:
        ValueError: if the list is missing or damaged, the part is empty, a patient is in two parts, a structure is
            unknown, or a listed file does not exist or lies outside the folder of the list.
    """
    path = Path(dataset_dir)
    path = path / "datalist.json" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"there is no {path}; make one with: python -m monai_agglo datalist {path.parent}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        patients = {
            name: {str(item["patient_id"]) for item in content.get(name, []) if "patient_id" in item}
            for name in ("training", "validation", "test")
        }
        items = [dict(item) for item in content.get(part, [])]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no datalist: {error}") from error
    for one, other in (("training", "validation"), ("training", "test"), ("validation", "test")):
        both = patients[one] & patients[other]
        if both:
            raise ValueError(f"{path}: patient {sorted(both)[0]} is in both {one} and {other}; split by patient")
    if not items and not optional:
        raise ValueError(f"{path} has no cases under {part!r}")
    for item in items:
        for key in ("image", "label"):
            if item.get(key) is None:
                if key == "image":
                    raise ValueError(f"{path}: a case under {part!r} has no image")
                continue
            item[key] = _inside(path, item[key])
        _check_labelled(path, item)
    return items


def _inside(path: Path, name) -> str:
    """Absolute path of a listed file; links out of the folder are allowed, names such as ``../x`` are not."""
    if not isinstance(name, str):
        raise ValueError(f"{path}: {name!r} is no file name")
    file = Path(os.path.normpath(path.parent.absolute() / name))
    if not file.is_relative_to(os.path.normpath(path.parent.absolute())):
        raise ValueError(
            f"{path} names {name}, which lies outside its folder; link it into the folder or copy it there"
        )
    if not file.exists():
        raise ValueError(f"{path} names {file}, which does not exist")
    return str(file.resolve())


def _check_labelled(path: Path, item: dict) -> None:
    """Check the partial labels of a case before preprocessing starts."""
    names, frames = item.get("labelled_structures"), item.get("labelled_frames")
    try:
        if names is not None:
            if isinstance(names, str):
                raise ValueError(f"labelled_structures is a list of names, not {names!r}")
            for name in names:
                index_of(name)
        if frames is not None and not all(isinstance(t, int) and t >= 0 for t in frames):
            raise ValueError(f"labelled_frames is a list of frame numbers from 0, not {frames}")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {Path(item['image']).name}: {error}") from error


def describe_datalist(dataset_dir: str | os.PathLike, part: str = "test") -> str:
    """Short description of a data set without paths or patients.

    Args:
        dataset_dir: folder with a ``datalist.json``, or the file itself.
        part: name of the part.

    Returns:
        The datalist's own name and release, and the part.
    """
    path = Path(dataset_dir)
    path = path / "datalist.json" if path.is_dir() else path
    content = json.loads(path.read_text(encoding="utf-8"))
    name = " ".join(str(content[key]) for key in ("name", "release") if content.get(key)) or "unnamed data set"
    return f"{name}, {part} part"
