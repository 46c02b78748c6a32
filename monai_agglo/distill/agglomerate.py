"""Distillation in one call: images and names of teachers in, a light encoder out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_agglo.data.zoom import checked_zoom
from monai_agglo.losses.names import check_balancer_name, check_targets_name
from monai_agglo.networks.teachers.registry import check_teacher_name
from monai_agglo.outputs import keep_settings

if TYPE_CHECKING:
    from monai_agglo.networks.student import StudentEncoder

__all__ = ["agglomerate", "describe_output"]

logger = logging.getLogger(__name__)

AVERAGE_DECAY = 0.99
SETTINGS, STUDENT, MODEL, CHECKPOINT = "distillation.json", "student.safetensors", "model.pt", "checkpoint.pt"


def agglomerate(
    images: str | os.PathLike | Sequence[str | os.PathLike],
    teachers: Sequence[str] | None,
    output: str | os.PathLike,
    *,
    method: str = "equal",
    method_options: Mapping[str, Any] | None = None,
    targets: str = "phi_s",
    backbone: str = "efficientvit_b0",
    steps: int = 1200,
    size: int = 256,
    batch: int = 16,
    lr: float = 2e-3,
    zoom: Sequence[float] | None = None,
    augmentation: float = 0.5,
    frame_size: int = 512,
    frames_per_cine: int | None = 16,
    held_out: float = 0.2,
    seed: int = 0,
    device: str | None = None,
    random_weights: bool = False,
    progress: bool = True,
) -> StudentEncoder:
    """Distil several teachers into one light encoder.

    The teachers run once over all frames, into the feature cache ``output/cache``; then the student is trained. Call it
    again with the same arguments after an interruption: it resumes, and the student is the same bit for bit on a CPU.
    A finished output is loaded and nothing is trained again. ``output`` holds ``student.safetensors`` and its card
    ``student.json``, the same weights as ``model.pt``, and ``checkpoint.pt``.

    Args:
        images: a file or folder of images and cines (DICOM, video, NIfTI, NRRD, PNG, JPEG), or several; no masks are
            needed. A fifth of the patients (of the files, where no patient is stated) is held out.
        teachers: names as ``python -m monai_agglo weights`` lists them, ``module:Class``, or a student's file; None
            takes the open ones whose weights are on this computer.
        output: folder for the student; made when missing.
        method: name of the balancer that weights the teachers' losses.
        method_options: its options.
        targets: normalisation of the teachers' features: ``phi_s``, ``standardise``, ``running`` or ``identity``.
        backbone: of the student, a timm name.
        steps: of the training.
        size: side of the student's input, in pixels, a multiple of 32.
        batch: images per step.
        lr: largest learning rate.
        zoom: least and largest magnification of a random part of each frame; the whole frame when None.
        augmentation: strength of the photometric augmentation, 0 to 1.
        frame_size: longer side that frames are scaled to for the teachers, in pixels.
        frames_per_cine: of each cine, evenly spread; all when None.
        held_out: share of the patients that are held out.
        seed: of weights, order and augmentation.
        device: where to compute; a GPU where there is one when None.
        random_weights: teachers with random weights, to try the plumbing; the student is marked.
        progress: show progress.

    Returns:
        The student, on the CPU, in evaluation mode: (B, 1, H, W) frames in [0, 1] to (B, 48, H/4, W/4).

    Raises:
        ValueError: for a wrong argument, in one sentence and before anything is written.
        WeightsMissingError: when weights of a teacher are missing, with the lines that fetch open ones.
    """
    given = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    paths = [Path(path).expanduser() for path in given]
    folder = Path(output).expanduser()
    _check(paths, teachers, folder, method, targets)
    settings: dict[str, Any] = {
        "method": method, "method_options": dict(method_options or {}), "targets": targets, "backbone": backbone,
        "steps": int(steps), "size": int(size), "batch": int(batch), "lr": float(lr), "zoom": checked_zoom(zoom),
        "augmentation": float(augmentation), "seed": int(seed), "random_weights": bool(random_weights),
    }  # fmt: skip
    if min(settings["steps"], settings["batch"]) < 1 or not settings["lr"] > 0:
        raise ValueError(f"steps, batch and lr must be positive, not {steps}, {batch} and {lr}")
    if size < 32 or size % 32:
        raise ValueError(f"the student's input must be a multiple of 32 pixels a side, not {size}")

    import torch

    from monai_agglo.data import FeatureView, RandFluoroscopyd, StudentFrameDataset
    from monai_agglo.engines import keep_freed_memory
    from monai_agglo.networks.student import StudentEncoder
    from monai_agglo.networks.student_file import load_student

    from .data import DistillationData
    from .run import choose_teachers, describe_run, ensure_cache, make_learners, target_space
    from .training import train_students

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = StudentEncoder(backbone)
    live = choose_teachers(teachers, random_weights, method)
    data = DistillationData(
        paths, held_out=held_out, size=frame_size, frames_per_cine=frames_per_cine, allow_none_held_out=True
    )
    names = [teacher.spec.name for teacher in live]
    hashes = {teacher.spec.name: teacher.weights_hash() for teacher in live}
    kept = {**settings, "teachers": hashes, "images": data.fingerprint}
    if (folder / SETTINGS).is_file():
        keep_settings(folder / SETTINGS, kept, "distillation")
    if (folder / STUDENT).is_file():
        logger.info("%s holds this student already", folder)
        return load_student(folder / STUDENT)

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    keep_freed_memory()
    learner = {"name": Path(STUDENT).stem, "balancer": method, "balancer_options": settings["method_options"]}
    cache = ensure_cache(
        data, live, folder / "cache", [learner], student=student, size=size, targets=targets, zoom=zoom,
        view=FeatureView(grid=32, channels=256), progress=progress, device=place,
    )  # fmt: skip
    look = RandFluoroscopyd(strength=augmentation, invert=0.0)
    train = StudentFrameDataset(data.frames("training"), cache, names, size, look, zoom, seed=seed, progress=progress)
    validate = StudentFrameDataset(data.frames("validation"), cache, names, size, progress=progress)
    keep_settings(folder / SETTINGS, kept, "distillation")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 + seed)  # projectors and balancer
        learners = make_learners(
            [learner], cache, names, steps, size, place, student, lr=lr, average_decay=AVERAGE_DECAY, capture=True,
            distributed=False,
        )  # fmt: skip
    card = describe_run(
        data.describe(), cache, train, validate, targets=targets, image_size=size, steps=steps, batch_size=batch,
        augmentation=augmentation, zoom=settings["zoom"], seed=seed,
    )  # fmt: skip
    train_students(
        train, validate, learners, target_space(targets, train, place), card, folder, folder / CHECKPOINT,
        steps=steps, batch=batch, seed=seed, device=place, model=folder / MODEL, progress=progress,
    )  # fmt: skip
    return load_student(folder / STUDENT)


def describe_output(output: str | os.PathLike) -> str:
    """What a finished distillation holds, for people.

    Args:
        output: its folder.

    Returns:
        Several lines: the student's file, and how much of each teacher's features it reproduces.
    """
    path = Path(output).expanduser() / STUDENT
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    lines = [f"{path}: {card['student']['backbone']}, {card['parameters']:,} parameters"]
    if card["random"]:
        lines.append(card["warning"])
    where = "training" if "held_out" in card["data"] else "held-out"
    for name, row in card["retention"].items():
        lines.append(f"  {name}: R2 {row['r2']:.3f}, cosine {row['cosine']:.3f} on {where} images")
    return "\n".join(lines)


def _check(paths: list[Path], teachers: Any, folder: Path, method: str, targets: str) -> None:
    """Refuse what can be refused without importing torch."""
    if not paths:
        raise ValueError("there are no images: name a file or folder")
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder")
    if isinstance(teachers, str):
        raise ValueError(f"teachers must be a list of names, not {teachers!r}")
    for name in teachers or ():
        if not str(name).endswith(".safetensors"):
            check_teacher_name(str(name))
    check_balancer_name(method)
    check_targets_name(targets)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: the output must be a folder, and this is a file")
    others = [name for name in (STUDENT, MODEL, CHECKPOINT) if (folder / name).exists()]
    if others and not (folder / SETTINGS).is_file():
        raise ValueError(f"{folder}: holds {others[0]} of another training; give another folder")
