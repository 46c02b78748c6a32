"""Export of the student of a distillation, without projectors and balancer."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import torch

from monai_agglo.losses import TargetSpace
from monai_agglo.networks import StudentEncoder, StudentForSam, load_encoder, read_student, write_student
from monai_agglo.networks.bundle_networks import PROMPTED

__all__ = ["export_student"]

logger = logging.getLogger(__name__)

PREFIX = "student.encoder."


def export_student(
    source: str | os.PathLike,
    target: str | os.PathLike,
    name: str | None = None,
    averaged: bool = True,
    keep: str | None = None,
) -> Path:
    """Write a student-only file from a checkpoint of a distillation: projectors, balancer and optimiser stay behind.

    Args:
        source: ``checkpoint.pt`` of a training, or its output folder.
        target: ``NAME.safetensors``; the card ``NAME.json`` appears beside it.
        name: of the student, needed where the checkpoint holds several.
        averaged: the averaged weights, which are what is evaluated; False takes those of the last step.
        keep: a teacher of the SAM family: keep its projector, and the way back from its normalised space, so that its
            mask decoder can be put on the student (:class:`monai_agglo.networks.StudentPromptNetwork`).

    Returns:
        The file.

    Raises:
        FileNotFoundError: when there is no checkpoint.
        ValueError: when it is none of a distillation, or holds no such student or teacher.
    """
    path = Path(source)
    path = path / "checkpoint.pt" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}: train one with bundles/agglo_distill first")
    try:
        objects = torch.load(path, map_location="cpu", weights_only=True)["objects"]
        found = {key.split("/", 1)[1]: value for key, value in objects.items() if key.startswith("student/")}
    except Exception as error:
        raise ValueError(f"{path} is no checkpoint of a distillation ({type(error).__name__})") from error
    if not found:
        raise ValueError(f"{path} is no checkpoint of a distillation: it holds no student")
    if name is None and len(found) > 1:
        raise ValueError(f"{path} holds several students: name one of {', '.join(found)}")
    name = name or next(iter(found))
    if name not in found:
        raise ValueError(f"{path} holds no student {name!r}: name one of {', '.join(found)}")
    state, options = found[name], found[name]["student"]
    student = StudentEncoder(**options)
    whole, prefix = state["average"]["averaged"], PREFIX
    if not averaged or not whole:
        whole, prefix = state["objective"], f"network.{PREFIX}"
    weights = {key.removeprefix(prefix): value for key, value in whole.items() if key.startswith(prefix)}
    load_encoder(student.encoder, weights, str(path))
    card = _card_beside(path, name)
    if not averaged:
        for figure in ("retention", "worst_r2", "mean_r2"):
            card.pop(figure, None)  # measured on the averaged weights
    if keep is not None:
        heads = {key.removeprefix(prefix.removesuffix(PREFIX)): value for key, value in whole.items()}
        spliced = _splice(keep, student, heads, objects.get("space", {}), card, path)
        written = spliced.write(target, {**card, "kept": keep})
        StudentForSam.read(written)
        return written
    written = write_student(target, student, card)
    read_student(written)  # what cannot be read again is no export
    return written


def _splice(
    teacher: str,
    student: StudentEncoder,
    heads: dict[str, torch.Tensor],
    space: dict[str, torch.Tensor],
    card: dict[str, Any],
    path: Path,
) -> StudentForSam:
    """The student with a teacher's projector and the inverse of its normalisation."""
    method, kind = card.get("method"), card.get("targets")
    if not isinstance(method, dict) or kind is None:
        raise ValueError(f"{path} is of an unfinished training: the card beside it does not say how targets were made")
    own = {name.split(".")[1] for name in heads if name.startswith("projectors.")}
    if teacher not in own:
        raise ValueError(f"{path} was not distilled from {teacher} but from {', '.join(sorted(own))}")
    if teacher not in PROMPTED or teacher == "medsam2":
        raise ValueError(f"{teacher} has no mask decoder that could be put on a student: keep one of the SAM family")
    spliced = StudentForSam(
        teacher, student.options, method["projector"], method["hidden"], method["project_at"], card["image_size"]
    )
    spliced.heads.student = student
    start, channels = f"projectors.{teacher}.", spliced.spec.channels
    try:
        spliced.heads.projectors[teacher].load_state_dict(
            {key.removeprefix(start): value for key, value in heads.items() if key.startswith(start)}
        )
        targets = TargetSpace(kind, {teacher: channels})
        targets.load_state_dict({key: value for key, value in space.items() if key.split(".")[1] == teacher})
    except RuntimeError as error:
        raise ValueError(
            f"{path} keeps principal components of {teacher} and not its {channels} channels: distil with "
            "--view#channels None"
        ) from error
    with torch.no_grad():
        zero = targets.inverse({teacher: torch.zeros(1, channels, 1, 1)})[teacher]
        columns = targets.inverse({teacher: torch.eye(channels)[:, :, None, None]})[teacher] - zero
        spliced.inverse.weight.copy_(columns.transpose(0, 1))
        spliced.inverse.bias.copy_(zero.flatten())  # type: ignore[union-attr]
    return spliced


def _card_beside(path: Path, name: str) -> dict[str, Any]:
    """Card of this student from the training; a minimal one when the training is unfinished."""
    file = path.with_name(f"{name}.json")
    own = ("format", "student", "input", "parameters", "weights_sha256")
    if file.is_file():
        card = json.loads(file.read_text(encoding="utf-8"))
        return {key: value for key, value in card.items() if key not in own}
    logger.warning("%s has no %s beside it: teachers, images and licences are not in the card", path, file.name)
    return {"warning": "exported from an unfinished training: teachers, images and licences are not recorded"}
