"""Which images are distilled on, and the teachers' features of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from monai_agglo.data.feature_cache.build import build_feature_cache
from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.view import FeatureView
from monai_agglo.distill.probes.tasks import Task
from monai_agglo.files import atomic_path
from monai_agglo.networks.teachers import Teacher, create_teacher

from .plan import StudySettings

__all__ = ["IMAGE_SETS", "StudyFrames", "build_caches", "choose_images", "open_cache", "view_of"]

IMAGE_SETS = ("all", "held", "shippable")
"""Training images, validation images (on which retention is measured), and those training images that a student that is
given away may have seen. Test images are in none."""
CACHES = ("all", "held")
"""Sets that are encoded: images that may be shipped are training images, and are found among those."""


def view_of(settings: StudySettings) -> FeatureView:
    """What is stored of teachers' maps: all channels, since principal components would differ between the caches, and
    targets could not be compared."""
    return FeatureView(settings.cells, None)


def choose_images(
    tasks: Mapping[str, Task], images: str, per_set: tuple[int, int] | None = None
) -> list[tuple[str, int]]:
    """Images of a set.

    Args:
        tasks: by name, sets without a task among them.
        images: one of :data:`IMAGE_SETS`.
        per_set: most training and held-out images of each task, evenly spread; all when None.

    Returns:
        Names of tasks and positions in them.

    Raises:
        ValueError: for an unknown set.
    """
    if images not in IMAGE_SETS:
        raise ValueError(f"images are one of {', '.join(IMAGE_SETS)}, not {images!r}")
    held = images == "held"
    chosen = [task for task in tasks.values() if images != "shippable" or task.shippable]
    most = per_set[int(held)] if per_set else None
    return [(t.name, index) for t in chosen for index in _spread(t.indices("val" if held else "train"), most)]


def _spread(indices: list[int], most: int | None) -> list[int]:
    """At most ``most`` of them, evenly spread."""
    if most is None or len(indices) <= most:
        return indices
    return [indices[place * len(indices) // most] for place in range(most)]


class StudyFrames:
    """A source of frames for the feature cache: (1, S, S) float32 in [0, 1].

    Args:
        tasks: by name.
        chosen: names and positions.
        fingerprint: says which frames these are, so that a cache need not read them again.
    """

    def __init__(self, tasks: Mapping[str, Task], chosen: list[tuple[str, int]], fingerprint: str) -> None:
        self.tasks, self.chosen, self.fingerprint = tasks, chosen, fingerprint

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> torch.Tensor:
        name, place = self.chosen[index]
        return torch.from_numpy(self.tasks[name].frames[place]).float()[None] / 255


def frames_of(tasks: Mapping[str, Task], images: str, settings: StudySettings) -> StudyFrames:
    """The frames of a set of images."""
    chosen = choose_images(tasks, images, settings.per_set)
    facts = [images, settings.frame, settings.phantom, settings.split_seed, chosen]
    return StudyFrames(tasks, chosen, json.dumps(facts))


def build_caches(
    tasks: Mapping[str, Task], settings: StudySettings, folder: Path, device: str | torch.device | None = None
) -> None:
    """Run the teachers over all images that are distilled on or held out; only what is missing is made.

    Args:
        tasks: by name.
        settings: of the study.
        folder: of the study.
        device: where the teachers run.
    """
    _done(folder).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_done(folder).with_suffix(".lock")):
        if _done(folder).is_file():
            return
        began, cpu = time.perf_counter(), time.process_time()
        live = teachers(settings)
        licences = {}
        for images in CACHES:
            if not choose_images(tasks, images, settings.per_set):
                continue
            cache = build_feature_cache(
                frames_of(tasks, images, settings), live, _folder(folder, images), view=view_of(settings),
                device=device, on_bad="skip", verify=2,
            )  # fmt: skip
            licences = {name: cache.describe(name)["teacher"]["licence"] for name in cache.teachers}
        facts = {
            "images": {images: len(choose_images(tasks, images, settings.per_set)) for images in IMAGE_SETS},
            "teachers": {
                teacher.spec.name: {"weights_hash": teacher.weights_hash(), "licence": licences[teacher.spec.name]}
                for teacher in live
            },
            "random_teachers": settings.random_teachers,
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "wall_seconds": round(time.perf_counter() - began, 1),
        }
        with atomic_path(_done(folder)) as partial:
            partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def cache_facts(folder: Path) -> dict[str, Any] | None:
    """What the caches are made of, or were where only a record of them is left; None before they are."""
    for path in (_done(folder), _done(folder).with_name("recorded.json")):
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    return None


def open_cache(folder: Path, images: str) -> FeatureCache:
    """The cache that holds the features of a set of images; see :func:`build_caches`."""
    return FeatureCache.open(_folder(folder, images if images in CACHES else "all"))


def teachers(settings: StudySettings) -> list[Teacher]:
    """The teachers, live."""
    return [create_teacher(name, random_weights=settings.random_teachers) for name in settings.teachers]


def _folder(folder: Path, images: str) -> Path:
    return folder / "features" / images


def _done(folder: Path) -> Path:
    return folder / "features" / "built.json"
