"""A released student: put into the bundles with its card, or refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.data.frame_window import describe_zoom
from monai_agglo.distill.probes.phantom_task import PHANTOM
from monai_agglo.distill.probes.sources import may_ship
from monai_agglo.files import atomic_path
from monai_agglo.handlers import save_atomically
from monai_agglo.locate import find_bundle
from monai_agglo.networks import StudentEncoder, load_student, read_student, write_student
from monai_agglo.networks.teachers import teacher_class

from .student_card import student_page

__all__ = ["ship_student"]

COMMAND = "python -m monai_agglo ship-student"
WEIGHTS, PAGE = Path("models", "student.safetensors"), Path("docs", "student.md")
MODEL, OWN_BUNDLE = Path("models", "model.pt"), "agglo_distill"
OF_FILE = ("format", "student", "input", "parameters", "weights_sha256", "tensors_sha256")
"""What a card says of its file, which is written anew."""


def ship_student(
    source: str | os.PathLike, bundle: str | os.PathLike = "vfss_seg", method: str | None = None
) -> list[Path]:
    """Copy a student into a bundle: ``models/student.safetensors``, its card ``student.json`` and ``docs/student.md``.

    Where the bundle ``agglo_distill`` lies beside that bundle, the same weights become its ``models/model.pt``, with a
    copy of the card.

    Args:
        source: folder of a study that has been run to its last stage, or a student's ``.safetensors`` file; a released
            one is written anew.
        bundle: the bundle's folder or name.
        method: how it was distilled, in words; what the student's own card says when None.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: when there is no such student.
        ValueError: when it may not be given away: its teachers were random, its images do not allow it, or its card
            does not say what they were.
    """
    path = _student_of(Path(source))
    student, card = read_student(path)
    facts = {**_facts(card, path), **_study_facts(path, card.get("cell"))}
    if method or not facts.get("method"):
        facts["method"] = method or "not recorded"
    _refuse(facts, path)
    folder = find_bundle(bundle)
    written = write_student(folder / WEIGHTS, student, {**facts, "made_by": COMMAND})
    page = folder / PAGE
    with atomic_path(page) as partial:
        partial.write_text(student_page(read_student(written)[1]), encoding="utf-8")
    return [
        written,
        written.with_suffix(".json"),
        page,
        *_own_bundle(folder.resolve().parent / OWN_BUNDLE, student, written),
    ]


def _own_bundle(folder: Path, student: StudentEncoder, written: Path) -> list[Path]:
    """The student as the model of the distillation's own bundle, where that is here."""
    if not (folder / "configs" / "metadata.json").is_file():
        return []
    model, card = folder / MODEL, folder / MODEL.with_name("student.json")
    save_atomically(student.state_dict(), model)
    with atomic_path(card) as partial:
        shutil.copyfile(written.with_suffix(".json"), partial)
    load_student(model)  # what cannot be read again is not released
    return [model, card]


def _student_of(source: Path) -> Path:
    if source.suffix == ".safetensors":
        return source
    if not source.is_dir():
        raise FileNotFoundError(f"there is no study and no student {source}")
    found = sorted((source / "students").glob("*-shippable-*.safetensors"))
    if len(found) != 1:
        what = "several students" if found else "no student"
        raise FileNotFoundError(
            f"{source} holds {what} that may be given away: run experiments.agglo_study to its last stage, or name a "
            "student's file"
        )
    return found[0]


def _facts(card: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What is released of a student's card."""
    if card.get("made_by") == COMMAND:
        return {key: value for key, value in card.items() if key not in OF_FILE}
    names = [sheet["name"] for sheet in card.get("teachers") or []]
    images = card.get("data", {}).get("licences")
    if not names or not images:
        raise ValueError(f"the card of {path} does not say which teachers and images it is made of: it stays here")
    specs = [teacher_class(name).spec for name in names]
    return {
        "random": bool(card.get("random")),
        "teachers": [{key: getattr(spec, key) for key in ("name", "title", "licence", "commercial")} for spec in specs],
        "images": [{"name": name, "licence": licence} for name, licence in images.items()],
        "method": _method(card.get("method")),
        "retention": card.get("retention", {}),
        "data_hash": card.get("train_data_hash"),
        "git_revision": card.get("git_revision"),
    }


def _method(found: Any) -> str:
    return found if isinstance(found, str) else ", ".join(f"{k} {v}" for k, v in (found or {}).items() if v)


def _study_facts(path: Path, cell: str | None) -> dict[str, Any]:
    """What the results of the study that the student lies in add: method, provenance, probes on test images."""
    results = path.parents[1] / "results"
    if cell is None or not (results / "distil" / f"{cell}.json").is_file():
        return {}
    made = json.loads((results / "distil" / f"{cell}.json").read_text(encoding="utf-8"))
    settings = path.parents[1] / "settings.json"
    zoom = json.loads(settings.read_text(encoding="utf-8")).get("zoom") if settings.is_file() else None
    probes = {}
    for file in sorted((results / "test" / cell).glob("*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))["probes"]
        probes[file.stem] = {name: _score(own) for name, own in row.items()}
    seen = f", {describe_zoom(zoom)}" if zoom else ""
    return {
        "method": f"{made['name']}, {made['steps']} steps on {made['images']} images{seen}, seed {made['seed']}",
        "data_hash": made["data_hash"],
        "git_revision": made["git_revision"],
        "probes": probes,
    }


def _score(row: Mapping[str, Any]) -> dict[str, Any]:
    known = [value for value in row["dice"] if value is not None]
    return {
        "dice": round(float(np.mean(known)), 4) if known else 0.0,
        "test_images": len(known),
        "trained_on": row["images"],
    }


def _refuse(facts: Mapping[str, Any], path: Path) -> None:
    if facts["random"]:
        raise ValueError(f"{path} was distilled from teachers with RANDOM weights: it means nothing and stays here")
    for image in facts["images"]:
        if image["name"] != PHANTOM and not may_ship(image["licence"]):
            raise ValueError(
                f"{path} has seen {image['name']} ({image['licence']}): only students of images that are CC0 or CC BY "
                "outright, or drawn, may be given away"
            )
