"""Parts of a distillation: teachers, feature cache, students. Wrong arguments are refused before a teacher runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_agglo.data import StudentFrameDataset
from monai_agglo.data.feature_cache.build import build_feature_cache
from monai_agglo.data.feature_cache.cache import FeatureCache, TeacherStatistics
from monai_agglo.data.feature_cache.view import FeatureView, Moments
from monai_agglo.data.frame_window import checked_zoom
from monai_agglo.engines import Learner, check_strides
from monai_agglo.handlers import provenance
from monai_agglo.losses import FeatureLoss, TargetSpace, check_teacher_set, make_balancer
from monai_agglo.networks import PROJECTORS, StudentEncoder
from monai_agglo.networks.teachers import (
    Teacher,
    WeightsMissingError,
    create_teacher,
    find_weights,
    teacher_class,
    weights_folders,
)
from monai_agglo.networks.teachers.small import RANDOM_TEACHERS
from monai_agglo.networks.teachers.student_teacher import StudentTeacher

from .data import DistillationData

__all__ = [
    "OPEN_TEACHERS",
    "choose_teachers",
    "describe_run",
    "ensure_cache",
    "make_learners",
    "target_space",
    "tracked_parameters",
    "training_statistics",
]

OPEN_TEACHERS = ("litemedsam", "dinov2_small", "mobilesam", "mobilenet_v3")
"""Teachers with openly licensed weights, which ``python -m monai_agglo weights`` fetches; those whose weights are here
are taken when none are named."""


def choose_teachers(
    names: Sequence[str] | None = None,
    random_weights: bool = False,
    balancer: str | None = None,
    folders: Sequence[str | os.PathLike] = (),
) -> list[Teacher]:
    """The teachers of a distillation.

    Args:
        names: in the registry, ``module:Class``, or the ``.safetensors`` file of a distilled student; None takes those
            of :data:`OPEN_TEACHERS` whose weights are on this computer, with ``random_weights`` two small stand-ins.
        random_weights: random weights on purpose, to try the plumbing.
        balancer: name of the balancer, which decides whether a single teacher will do.
        folders: further folders of weights.

    Returns:
        The teachers, on the CPU.

    Raises:
        ValueError: for an unknown teacher, the same one twice, or only one.
        WeightsMissingError: when weights are missing, with the lines that fetch open ones.
    """
    if isinstance(names, str):
        raise ValueError(f"teachers must be a list of names, not {names!r}: give \"['{names}', ...]\"")
    places = [*map(Path, folders), *weights_folders()]
    if names is None:
        if random_weights:
            return [create_teacher(name, random_weights=True) for name in RANDOM_TEACHERS]
        names = [name for name in OPEN_TEACHERS if find_weights(teacher_class(name).spec, places)]
        if len(names) < 2:
            found = f"only of {names[0]}" if names else "of no open teacher"
            others = [name for name in OPEN_TEACHERS if name not in names]
            raise WeightsMissingError(
                f"weights {found} are on this computer, two are needed: {_how_to_get(others[:2])}"
            )
    students = {name: StudentTeacher(name) for name in names if str(name).endswith(".safetensors")}
    specs = {name: (students[name] if name in students else teacher_class(name)).spec for name in names}
    check_teacher_set([specs[name].name for name in names], balancer)
    weights = {name: find_weights(spec, places) for name, spec in specs.items() if name not in students}
    missing = [name for name, path in weights.items() if path is None and not random_weights]
    if missing:
        titles = " and of ".join(specs[name].title for name in missing)
        lines = missing if set(missing) <= set(OPEN_TEACHERS) else OPEN_TEACHERS[:2]
        raise WeightsMissingError(f"no weights of {titles} on this computer: {_how_to_get(lines)}")
    return [
        students[name] if name in students else create_teacher(name, weights[name], random_weights) for name in names
    ]


def _how_to_get(names: Sequence[str]) -> str:
    lines = " and ".join(f"'python -m monai_agglo weights {name}'" for name in names)
    return (
        f"{lines} fetch{'es' if len(names) == 1 else ''} open ones, AGGLO_WEIGHTS names a folder that holds some, and "
        "--random-weights (in a bundle --random_weights True) tries the plumbing"
    )


def check_students(students: Sequence[Mapping[str, Any]], teachers: Mapping[str, tuple[int, int, int]]) -> None:
    """Refuse students that cannot be trained, without building anything.

    Args:
        students: see :func:`make_learners`.
        teachers: stored shape (k, rows, columns) of each teacher's maps, by name.

    Raises:
        ValueError: with one sentence.
    """
    names = [student.get("name") for student in students]
    if not names or None in names or len(set(names)) < len(names):
        raise ValueError(f"every student of a run needs a name of its own, got {names}")
    for student in students:
        balancer, projector = student.get("balancer", "equal"), student.get("projector", "mlp")
        make_balancer(balancer, len(teachers), **dict(student.get("balancer_options") or {}))
        if projector not in PROJECTORS:
            raise ValueError(f"there is no projector {projector!r}: choose one of {', '.join(PROJECTORS)}")
        check_teacher_set(tuple(teachers), balancer)


def ensure_cache(
    data: DistillationData,
    teachers: Sequence[Teacher],
    path: str | os.PathLike,
    students: Sequence[Mapping[str, Any]] = (),
    common: Mapping[str, Any] | None = None,
    student: StudentEncoder | None = None,
    size: int = 256,
    targets: str = "phi_s",
    zoom: Sequence[float] | None = None,
    view: FeatureView | None = None,
    precision: str = "int8",
    parts: Sequence[str] = ("training", "validation"),
    build: bool = True,
    progress: bool = True,
    **options: Any,
) -> FeatureCache:
    """Check the set-up, then open the cache of the teachers' features, built first where something is missing.

    Args:
        data: the images.
        teachers: live.
        path: folder of the cache.
        students: see :func:`make_learners`; they are checked before anything is encoded.
        common: settings of all students.
        student: the first student's encoder.
        size: side of the students' input, in pixels.
        targets: how features will be normalised; checked as well.
        zoom: see :class:`monai_agglo.data.StudentFrameDataset`; checked as well.
        view: grid and channels to store; averaged to about 32 cells a side and 256 components when None.
        precision: ``int8`` or ``fp16``.
        parts: of the images to encode; principal components are found on the first.
        build: False opens a cache that must be there, and encodes nothing.
        progress: show size and progress.
        options: further arguments of :func:`monai_agglo.data.build_feature_cache`.

    Returns:
        The cache, opened.

    Raises:
        FeatureCacheError: when the cache cannot be built or opened.
        ValueError: when teachers and students do not go together, for unknown targets, or magnifications that are none.
    """
    checked_zoom(zoom)
    view = view or FeatureView()
    names = [teacher.spec.name for teacher in teachers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"teacher {twice[0]} is given twice: name every teacher once")
    shapes = {teacher.spec.name: view.shape(teacher.spec) for teacher in teachers}
    check_students([{**(common or {}), **settings} for settings in students], shapes)
    if student is not None:
        check_strides(student, size, shapes)
    TargetSpace(targets, {name: shape[0] for name, shape in shapes.items()})  # refuses an unknown kind
    if build:
        for part in parts:
            build_feature_cache(
                data.frames(part), teachers, path, view=view, precision=precision, on_bad="skip", verify=0,
                progress=progress, **options,
            )  # fmt: skip
    return FeatureCache.open(path, teachers, verify=2 if build else 0, frames=data.frames(parts[0]))


def training_statistics(
    cache: FeatureCache, frames: Sequence[str], teachers: Sequence[str], limit: int = 2000
) -> dict[str, TeacherStatistics]:
    """Mean and covariance of the training images' features alone, so that nothing of held-out ones enters training.

    Args:
        cache: open.
        frames: hashes of the training frames.
        teachers: names.
        limit: of frames that are read, evenly spread.

    Returns:
        Statistics by teacher.
    """
    chosen = [frames[int(i)] for i in torch.linspace(0, len(frames) - 1, min(limit, len(frames))).round().tolist()]
    found = {}
    for name in teachers:
        sums = Moments()
        for frame in chosen:
            sums.add(cache[frame, name], cache.geometry(frame, name)[1])
        found[name] = TeacherStatistics(sums.count, sums.mean, sums.covariance())
    return found


def make_learners(
    students: Sequence[Mapping[str, Any]],
    cache: FeatureCache,
    teachers: Sequence[str],
    total_steps: int,
    size: int,
    device: torch.device | str = "cpu",
    network: StudentEncoder | None = None,
    feature_loss: FeatureLoss | None = None,
    **common: Any,
) -> list[Learner]:
    """The students of a run, trained side by side on one stream of targets.

    Args:
        students: one dictionary each: ``name``, optionally ``backbone``, ``out_channels`` and ``stride`` of the
            encoder, and whatever else of :class:`monai_agglo.engines.Learner` differs from ``common``.
        cache: gives the shapes of the teachers' maps.
        teachers: names.
        total_steps: optimiser steps of the whole training.
        size: side of the students' input, in pixels.
        device: where to train.
        network: the first student's encoder.
        feature_loss: per token, of all of them.
        common: arguments of :class:`monai_agglo.engines.Learner` for all of them.

    Returns:
        The learners.

    Raises:
        ValueError: when teachers and students do not go together.
    """
    shapes = {name: cache.shape(name) for name in teachers}
    check_students([{**common, **settings} for settings in students], shapes)
    learners = []
    for number, settings in enumerate(students):
        settings = {**common, **settings}
        options = {
            key: settings.pop(key) for key in ("backbone", "out_channels", "stride", "pretrained") if key in settings
        }
        encoder = network if number == 0 and network is not None else StudentEncoder(**options)
        check_strides(encoder, size, shapes)
        learners.append(
            Learner(
                student=encoder,
                teachers=shapes,
                total_steps=total_steps,
                device=device,
                feature_loss=feature_loss,
                **settings,
            )
        )
    return learners


def target_space(kind: str, dataset: StudentFrameDataset, device: torch.device | str = "cpu") -> TargetSpace:
    """The normalised target spaces of a training.

    Args:
        kind: see :class:`monai_agglo.losses.TargetSpace`.
        dataset: the training images.
        device: where to.

    Returns:
        The spaces, in training mode.
    """
    frames = [key for _, key in dataset.data]
    return TargetSpace(kind, training_statistics(dataset.cache, frames, dataset.teachers)).to(device)


def describe_run(
    data: Mapping[str, Any],
    cache: FeatureCache,
    train: StudentFrameDataset,
    validate: StudentFrameDataset,
    **settings: Any,
) -> dict[str, Any]:
    """The card of a run, for students, reports and trackers: code, images, teachers, licences, settings.

    Args:
        data: the images, as :meth:`~.data.DistillationData.describe` has them.
        cache: features of the teachers.
        train: training data set.
        validate: held-out data set.
        settings: anything else worth keeping.

    Returns:
        Plain JSON, without any path or patient in it.
    """
    sheets = []
    for name in train.teachers:
        facts = cache.describe(name)
        known = ("name", "class", "title", "licence", "commercial", "random_weights")
        sheets.append(
            {
                **{key: facts["teacher"][key] for key in known if key in facts["teacher"]},
                "weights_hash": facts["weights_hash"],
                "preprocessing_hash": facts["preprocessing_hash"],
                "stored": [*facts["shape"], facts["precision"]],
                "cache_cosine_min": facts["cosine_min"],
            }
        )
    digest = hashlib.sha256(
        json.dumps([[s["name"], s["weights_hash"], s["preprocessing_hash"], s["stored"]] for s in sheets]).encode()
    )
    return {
        "random": any(sheet["random_weights"] for sheet in sheets),
        "teachers": sheets,
        "cache_hash": digest.hexdigest()[:16],
        "data": dict(data),
        **provenance(train, validate),
        **settings,
    }


def tracked_parameters(card: Mapping[str, Any], learners: Sequence[Learner]) -> dict[str, Any]:
    """A run's card as flat parameters for an experiment tracker.

    Args:
        card: from :func:`describe_run`.
        learners: the students.

    Returns:
        Strings and numbers.
    """
    flat = {key: value for key, value in card.items() if not isinstance(value, (dict, list))}
    flat["images"] = ", ".join(card["data"]["images"])
    flat["image_licences"] = "; ".join(f"{name}: {text}" for name, text in card["data"]["licences"].items())[:450]
    for sheet in card["teachers"]:
        for key in ("weights_hash", "preprocessing_hash", "licence", "random_weights"):
            flat[f"teacher/{sheet['name']}/{key}"] = sheet[key]
    for learner in learners:
        prefix = f"{learner.name}/" if len(learners) > 1 else ""
        for key, value in {**learner.settings, **learner.network.student.options}.items():
            flat[prefix + key] = value if isinstance(value, (int, float, str)) else json.dumps(value)
        flat[f"{prefix}parameters"] = sum(p.numel() for p in learner.network.student.parameters())
    return flat
