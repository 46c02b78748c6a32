"""The list of teachers, and how to get one by name."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Teacher
    from .spec import TeacherSpec

__all__ = [
    "TEACHERS",
    "WeightsMissingError",
    "check_teacher_name",
    "create_teacher",
    "find_weights",
    "teacher_class",
    "weights_folders",
]

# One line per teacher: name -> module:Class. Modules are imported when a teacher is asked for.
TEACHERS: dict[str, str] = {
    "medsam": "monai_agglo.networks.teachers.medsam:MedSAM",
    "medsam2": "monai_agglo.networks.teachers.medsam2:MedSAM2",
    "rad_dino": "monai_agglo.networks.teachers.rad_dino:RadDino",
    "medclip": "monai_agglo.networks.teachers.medclip:MedCLIP",
    "medclip_resnet50": "monai_agglo.networks.teachers.medclip:MedCLIPResNet50",
    "litemedsam": "monai_agglo.networks.teachers.litemedsam:LiteMedSAM",
    "mobilesam": "monai_agglo.networks.teachers.mobilesam:MobileSAM",
    "dinov2_small": "monai_agglo.networks.teachers.dinov2_small:Dinov2Small",
    "mobilenet_v3": "monai_agglo.networks.teachers.mobilenet_v3:MobileNetV3",
}


class WeightsMissingError(FileNotFoundError):
    """No weights of a teacher were found on this computer."""


def check_teacher_name(name: str) -> None:
    """Refuse a name that is neither in the registry nor ``module:Class``, without importing anything.

    Raises:
        ValueError: with the names in the registry.
    """
    if ":" not in TEACHERS.get(name, name):
        raise ValueError(f"no teacher {name!r}; known are {', '.join(TEACHERS)}, or give module:Class")


def teacher_class(name: str) -> type[Teacher]:
    """The class of a teacher.

    Args:
        name: in the registry, or ``module:Class`` of a teacher that is not (yet).

    Returns:
        The class; its ``spec`` is the data sheet.

    Raises:
        ValueError: if there is no such teacher.
    """
    from .base import Teacher

    check_teacher_name(name)
    target = TEACHERS.get(name, name)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"teacher {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Teacher)):
        raise ValueError(f"{target} is no Teacher")
    return found


def weights_folders() -> list[Path]:
    """Where weights are looked for: the folders of the environment variable AGGLO_WEIGHTS, then the user's cache."""
    named = [Path(part) for part in os.environ.get("AGGLO_WEIGHTS", "").split(os.pathsep) if part]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [*named, cache / "monai_agglo" / "weights"]


def find_weights(spec: TeacherSpec, folders: list[Path] | None = None) -> Path | None:
    """The first published file of a teacher that is present.

    Args:
        spec: the teacher's data sheet.
        folders: folders of weights; :func:`weights_folders` when None.

    Returns:
        ``<folder>/<spec.folder>/<file name>``, or None.
    """
    places = (folder / spec.folder / file.name for folder in folders or weights_folders() for file in spec.files)
    return next((place for place in places if place.is_file()), None)


def create_teacher(
    name: str, weights: str | Path | None = None, random_weights: bool = False, in_checkpoint: bool = False
) -> Teacher:
    """Build a teacher with its weights.

    Args:
        name: in the registry, or ``module:Class``.
        weights: a checkpoint file or folder; looked for in :func:`weights_folders` when None.
        random_weights: random weights on purpose, to try the plumbing.
        in_checkpoint: keep the encoder in ``state_dict``.

    Returns:
        The teacher, frozen, on the CPU.

    Raises:
        WeightsMissingError: if there are no weights, with what to do.
        CheckpointError: if the weights do not fit exactly.
    """
    made = teacher_class(name)
    if random_weights:
        return made(random_weights=True, in_checkpoint=in_checkpoint)
    found = weights or find_weights(made.spec)
    if found is None:
        raise WeightsMissingError(
            f"no weights of {made.spec.title} on this computer: get them with 'python -m monai_agglo weights {name}', "
            "name their folder in AGGLO_WEIGHTS, or try the plumbing with --random-weights"
        )
    return made(weights=found, in_checkpoint=in_checkpoint)
