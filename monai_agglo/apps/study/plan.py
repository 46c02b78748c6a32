"""The plan of the study: settings, the cells of the grid, and who goes on from the screening."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from monai_agglo.data.frame_window import checked_zoom

from .probe import ProbeSettings

__all__ = [
    "BALANCINGS",
    "COMPACT",
    "SCRATCH",
    "SIMPLE",
    "VARIANTS",
    "StudyCell",
    "StudySettings",
    "balancing_of",
    "cell_named",
    "equal_of",
    "finalists",
    "grid",
    "seen_of",
    "singles",
]

SCRATCH, SIMPLE = "scratch", "simple"

BALANCINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "equal": ("equal", {}),
    "mlp": ("mlp", {"form": "paper"}),
    "attention": ("attention", {"form": "paper"}),
    "mlp_stable": ("mlp", {"form": "stabilised"}),
    "attention_stable": ("attention", {"form": "stabilised"}),
    "adaloss": ("adaloss", {}),
    "dropping": ("dropping", {}),
    "equal_without_coarse": ("equal", {}),
}
"""Ways of balancing in the grid, as balancer and options; the last leaves out the coarse, MedCLIP-like teacher."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"tchebycheff": ("tchebycheff", {})}
"""Ways of balancing that are told what students of one teacher alone reach, and so come after those."""


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
        steps: of a distillation.
        batch: images per step.
        lr: largest learning rate of a distillation.
        average_decay: of the averaged weights, which are what is probed.
        ship_steps: of the distillation that is given away.
        long: times the steps, of the long distillations of the finalists; none when 0.
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
    zoom: tuple[float, float] | None = None
    steps: int = 600
    batch: int = 16
    lr: float = 2e-3
    average_decay: float = 0.99
    ship_steps: int = 2400
    long: int = 0
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
        checked_zoom(self.zoom)
        if self.long < 0 or self.long == 1:
            raise ValueError(f"long distillations are at least 2 times as long as the others, or 0, not {self.long}")

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
    "steps": 100,
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


@dataclass(frozen=True)
class StudyCell:
    """One student.

    Attributes:
        method: ``scratch``, ``simple``, ``single_<teacher>`` or a key of :data:`BALANCINGS` or :data:`VARIANTS`.
        targets: normalisation; empty for ``scratch``.
        backbone: of the student.
        seed: of first weights, batches and probes.
        images: ``all`` training images, or ``shippable`` ones (see :func:`~.sources.may_ship`).
        longer: times the study's steps.
    """

    method: str
    targets: str
    backbone: str
    seed: int
    images: str = "all"
    longer: int = 1

    @property
    def name(self) -> str:
        """Method and normalisation, as in tables."""
        return self.method if self.method in (SCRATCH, SIMPLE) else f"{self.method}+{self.targets}"

    @property
    def id(self) -> str:
        """For files; a short hash keeps different cells apart whatever their names are."""
        facts = asdict(self)
        length = f"-x{facts['longer']}" if self.longer > 1 else ""
        if not length:
            del facts["longer"]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:6]
        name = f"{self.name}-{self.backbone}-{self.images}{length}-s{self.seed}-{digest}"
        return name.replace(":", ".").replace("/", ".")

    def at(self, **values: Any) -> StudyCell:
        """A copy with another seed, backbone or images."""
        return replace(self, **values)

    def teachers(self, settings: StudySettings) -> tuple[str, ...]:
        """The teachers that this student hears."""
        if self.method == SCRATCH:
            return ()
        if self.method == SIMPLE:
            return (settings.simple,)
        if self.method.startswith("single_"):
            return (self.method.removeprefix("single_"),)
        if self.method == "equal_without_coarse":
            return tuple(t for t in settings.teachers if t != settings.coarse)
        return settings.teachers

    @property
    def agglomerates(self) -> bool:
        """Whether several teachers are balanced."""
        return self.method in BALANCINGS or self.method in VARIANTS


def balancing_of(cell: StudyCell) -> tuple[str, dict[str, Any]]:
    """Balancer and options of a cell; ``single`` where one teacher is heard."""
    return (BALANCINGS | VARIANTS).get(cell.method, ("single", {}))


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
    first = [StudyCell(SCRATCH, "", settings.backbone, seed), StudyCell(SIMPLE, "identity", settings.backbone, seed)]
    methods = [*(f"single_{teacher}" for teacher in settings.teachers), *settings.balancings]
    pairs = [(method, targets) for targets in settings.targets for method in methods]
    pairs += [(method, targets) for method, _, targets in (name.partition("+") for name in settings.variants)]
    return first + [StudyCell(method, targets, settings.backbone, seed) for method, targets in pairs]


def singles(settings: StudySettings, cell: StudyCell) -> dict[str, StudyCell]:
    """The single-teacher cells that a cell's retention is compared with, by teacher.

    Args:
        settings: of the study.
        cell: its targets, seed and length are theirs; backbone and images are the study's own.

    Returns:
        A cell per teacher.
    """
    alike = cell.at(backbone=settings.backbone, images="all")
    return {teacher: alike.at(method=f"single_{teacher}") for teacher in settings.teachers}


def equal_of(settings: StudySettings, score: Mapping[StudyCell, float]) -> StudyCell:
    """Equal weights on the normalised targets where they do best: the baseline that balancing must beat."""
    normalised = [t for t in settings.targets if t != "identity"] or list(settings.targets)
    cells = [StudyCell("equal", targets, settings.backbone, 0) for targets in normalised]
    return max(cells, key=lambda cell: score[cell])


def finalists(settings: StudySettings, score: Mapping[StudyCell, float]) -> list[StudyCell]:
    """Who gets more seeds: the best agglomerations, equal weights, the best single teacher, simple, scratch.

    Args:
        settings: of the study.
        score: mean Dice of every cell of the grid on validation images of the screening tasks.

    Returns:
        Cells of seed 0, the best first; ties go to the earlier in the grid.
    """
    cells = grid(settings)
    equal = equal_of(settings, score)
    ranked = sorted((c for c in cells if c.agglomerates and c != equal), key=lambda c: -score[c])
    alone = max((c for c in cells if c.method.startswith("single_")), key=lambda c: score[c])
    return [*ranked[: settings.best], equal, alone, cells[1], cells[0]]


def seen_of(zoom: Sequence[float]) -> str:
    """What students see of each image, in words."""
    return f"a random part of each, magnified {zoom[0]:g} to {zoom[1]:g} times"


def with_seeds(cells: Sequence[StudyCell], seeds: int) -> list[StudyCell]:
    """Every cell with seeds 0 to n - 1."""
    return [cell.at(seed=seed) for seed in range(seeds) for cell in cells]
