"""The plan of the study: settings, the cells of the grid, and who goes on from the screening."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from monai_agglo.data.frame_window import checked_zoom
from monai_agglo.distill.probes.probe_training import ProbeSettings

from .cells import BALANCINGS, SCRATCH, SIMPLE, VARIANTS, WITHOUT_COARSE, StudyCell

__all__ = [
    "COMPACT",
    "StudySettings",
    "cell_named",
    "equal_of",
    "finalists",
    "grid",
    "singles",
    "teachers_of",
]


@dataclass(frozen=True)
class StudySettings:
    """Everything that the results depend on; the same for all cells.

    Attributes:
        teachers: of the agglomeration.
        simple: the teacher of simple distillation, the paper's baseline: alone, raw targets, mean squared error.
        coarse: the MedCLIP-like teacher.
        targets: normalisations.
        balancings: of :data:`BALANCINGS`.
        variants: methods of :data:`VARIANTS` with their targets, as tables name them, that are screened as well.
        backbone: of the student.
        other_students: backbones that the best methods are tried on.
        frame: side of the teachers' square frames, pixels.
        size: side of the student's frames, pixels.
        cells: wanted cells a side of the teachers' maps, see :class:`~monai_agglo.data.FeatureView`.
        hidden: channels inside the projectors; their default when None.
        per_set: most images of a set that are distilled on, and that retention is measured on; all when None.
        zoom: least and largest magnification of what a student sees of a frame; the whole frame when None.
        steps: of a distillation of the screening.
        final_steps: of the finalists' and of those on other backbones.
        batch: images per step.
        lr: largest learning rate of a distillation.
        average_decay: of the averaged weights, which are what is probed.
        ship_steps: of the distillation that is given away.
        tasks: names; all that are there when None.
        screen_tasks: on which the grid is screened, by frozen probes.
        screen_shots: training images of these probes; 0 for all.
        shots: training images of frozen probes afterwards.
        tuned_shots: training images of probes whose encoder is trained along.
        seeds: of the finalists.
        best: methods that go into the finals besides the baselines.
        on_other_students: best of the finals that are tried on other backbones.
        phantom: patients and frames of each.
        split_seed: of the parts.
        probe: training of probes.
        random_teachers: teachers without weights, to try the plumbing; all results are marked.
    """

    teachers: tuple[str, ...] = ("litemedsam", "dinov2_small", "mobilesam", "mobilenet_v3")
    simple: str = "litemedsam"
    coarse: str = "mobilenet_v3"
    targets: tuple[str, ...] = ("identity", "standardise", "phi_s")
    balancings: tuple[str, ...] = tuple(BALANCINGS)
    variants: tuple[str, ...] = ("tchebycheff+standardise",)
    backbone: str = "efficientvit_b0"
    other_students: tuple[str, ...] = ("mobilenetv4_conv_small", "efficientvit_b1")
    frame: int = 512
    size: int = 256
    cells: int = 32
    hidden: int | None = None
    per_set: tuple[int, int] | None = None
    zoom: tuple[float, float] | None = (0.7, 1.6)
    steps: int = 300
    final_steps: int = 1200
    batch: int = 16
    lr: float = 2e-3
    average_decay: float = 0.99
    ship_steps: int = 2400
    tasks: tuple[str, ...] | None = None
    screen_tasks: tuple[str, ...] = (
        "cxr_lung_shenzhen_montgomery",
        "fundus_disc_cup_drishti",
        "us_breast_busbra",
    )
    screen_shots: tuple[int, ...] = (8, 0)
    shots: tuple[int, ...] = (8, 32, 0)
    tuned_shots: tuple[int, ...] = (8, 0)
    seeds: int = 3
    best: int = 4
    on_other_students: int = 3
    phantom: tuple[int, int] = (24, 8)
    split_seed: int = 0
    probe: ProbeSettings = field(default_factory=lambda: ProbeSettings(tuned_steps=60))
    random_teachers: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.balancings) - set(BALANCINGS):
            raise ValueError(f"unknown ways of balancing {sorted(unknown)}; known are {', '.join(BALANCINGS)}")
        for name in self.variants:
            method, _, targets = name.partition("+")
            if method not in VARIANTS or targets not in self.targets:
                raise ValueError(
                    f"unknown variant {name!r}: one of {', '.join(VARIANTS)}, a plus, and one of the targets"
                )
        if self.simple not in self.teachers or self.coarse not in self.teachers or len(set(self.teachers)) < 2:
            raise ValueError(f"the study needs several teachers, {self.simple} and {self.coarse} among them")
        if min(self.seeds, self.steps, self.ship_steps) < 1:
            raise ValueError("the study needs at least one seed and one step")
        if self.final_steps < self.steps:
            raise ValueError(
                f"finalists are distilled for at least the {self.steps} steps of the screening, not {self.final_steps}"
            )
        checked_zoom(self.zoom)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return json.loads(json.dumps(asdict(self)))

    def changed(self, **values: Any) -> StudySettings:
        """A copy with other values."""
        return replace(self, **values)


COMPACT: dict[str, Any] = {
    "targets": ("identity", "phi_s"),
    "variants": ("tchebycheff+phi_s",),
    "frame": 480,
    "size": 160,
    "cells": 16,
    "hidden": 128,
    "per_set": (14, 4),
    "zoom": None,
    "steps": 100,
    "final_steps": 200,
    "ship_steps": 400,
    "batch": 8,
    "lr": 4e-3,
    "average_decay": 0.95,
    "other_students": ("mobilenetv4_conv_small",),
    "screen_shots": (8,),
    "shots": (8, 0),
    "tuned_shots": (8,),
    "best": 2,
    "on_other_students": 1,
    "probe": ProbeSettings(steps=60, tuned_steps=30, channels=32),
}
"""Settings of a study that fits an afternoon on two cores: smaller frames, fewer images, shorter trainings. It shows
directions; gains of a point need the whole study."""


def cell_named(settings: StudySettings, name: str) -> StudyCell:
    """The cell of the grid, with seed 0, that tables call by this name.

    Raises:
        ValueError: when there is none, with the names there are.
    """
    cells = {cell.name: cell for cell in grid(settings) if cell.method != SCRATCH}
    if name not in cells:
        raise ValueError(f"there is no method {name}; there are {', '.join(cells)}")
    return cells[name]


def grid(settings: StudySettings, seed: int = 0) -> list[StudyCell]:
    """Every cell of the screening; what a variant has to know is there before it."""

    def cell(method: str, targets: str) -> StudyCell:
        return StudyCell(method, targets, settings.backbone, seed, settings.steps)

    methods = [*(f"single_{teacher}" for teacher in settings.teachers), *settings.balancings]
    pairs = [(method, targets) for targets in settings.targets for method in methods]
    pairs += [(method, targets) for method, _, targets in (name.partition("+") for name in settings.variants)]
    return [cell(SCRATCH, "").at(steps=0), cell(SIMPLE, "identity"), *(cell(*pair) for pair in pairs)]


def singles(settings: StudySettings, cell: StudyCell) -> dict[str, StudyCell]:
    """The single-teacher cells that a cell's retention is compared with, and that a variant is told about, by teacher.

    Args:
        settings: of the study.
        cell: its targets, seed and length are theirs, but none is longer than the finals; backbone and images are the
            study's own.

    Returns:
        A cell per teacher.
    """
    alike = cell.at(backbone=settings.backbone, images="all", steps=min(cell.steps, settings.final_steps))
    return {teacher: alike.at(method=f"single_{teacher}") for teacher in settings.teachers}


def equal_of(settings: StudySettings, score: Mapping[StudyCell, float]) -> StudyCell:
    """Equal weights on the normalised targets where they do best: the baseline that balancing must beat."""
    cells = [cell for cell in grid(settings) if cell.method == "equal"]
    normalised = [cell for cell in cells if cell.targets != "identity"] or cells
    return max(normalised, key=lambda cell: score[cell])


def finalists(settings: StudySettings, score: Mapping[StudyCell, float]) -> list[StudyCell]:
    """Who goes on: the best agglomerations of all teachers, equal weights with and without the coarse teacher, the best
    single teacher, simple, scratch.

    Args:
        settings: of the study.
        score: mean Dice of every cell of the grid on validation images of the screening tasks.

    Returns:
        Cells of seed 0 and of the finals' length, the best first; ties go to the earlier in the grid.
    """
    cells = grid(settings)
    equal = equal_of(settings, score)
    ranked = sorted((c for c in cells if c.may_be_chosen and c != equal), key=lambda c: -score[c])
    without = [c for c in cells if c == equal.at(method=WITHOUT_COARSE)]
    alone = max((c for c in cells if c.method.startswith("single_")), key=lambda c: score[c])
    found = [*ranked[: settings.best], equal, *without, alone, cells[1], cells[0]]
    return [cell.at(steps=settings.final_steps) for cell in found]


def teachers_of(cell: StudyCell, settings: StudySettings) -> tuple[str, ...]:
    """The teachers that a student is distilled from."""
    if cell.method == SCRATCH:
        return ()
    if cell.method == SIMPLE:
        return (settings.simple,)
    if cell.method.startswith("single_"):
        return (cell.method.removeprefix("single_"),)
    if cell.method == WITHOUT_COARSE:
        return tuple(t for t in settings.teachers if t != settings.coarse)
    return settings.teachers
