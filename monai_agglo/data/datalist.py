"""Datalists: which cines and masks there are, and which patients train, validate and test."""

from __future__ import annotations

import json
import os
from pathlib import Path

__all__ = ["load_datalist"]


def load_datalist(dataset_dir: str | os.PathLike, part: str = "training", optional: bool = False) -> list[dict]:
    """Read one part of a MONAI decathlon-style datalist.

    Args:
        dataset_dir: folder with a ``datalist.json``, or the file itself; its paths are relative to its folder.
        part: ``training``, ``validation`` or ``test``.
        optional: an absent or empty part gives an empty list.

    Returns:
        Cases with absolute ``image`` and ``label`` paths, ``patient_id`` and whatever else the list says.

    Raises:
        ValueError: when the list is missing or damaged, the part is empty, a patient is in two parts, or a file that
            it names does not exist.
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
            item[key] = str((path.parent / item[key]).resolve())
            if not os.path.exists(item[key]):
                raise ValueError(f"{path} names {item[key]}, which does not exist")
    return items
