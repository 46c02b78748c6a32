"""What the study will cost, from timings of a few steps, before it starts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from experiments.benchmark.clock import now
from monai_agglo.distill.probes.probe import ProbeMemory, encode, probe
from monai_agglo.engines.distillation_batch import DistillationBatch
from monai_agglo.inferers.precision import autocast

from .cells import WITHOUT_COARSE, StudyCell
from .distil import make_learner, new_student
from .images import cache_facts, choose_images, teachers, view_of
from .plan import grid
from .runner import Study

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """Hours by stage: of processor time on a CPU, whatever else it is doing, and by the clock on a GPU.

    Attributes:
        hours: by stage.
        distilling: of these, hours of distillation.
    """

    hours: dict[str, float]
    distilling: float

    @property
    def total(self) -> float:
        """Of all stages."""
        return sum(self.hours.values())

    def describe(self, device: str = "cpu") -> str:
        """For people."""
        stages = ", ".join(f"{stage} {hours:.1f}" for stage, hours in self.hours.items())
        unit = "CPU-hours" if device == "cpu" else "hours"
        return f"estimate: {self.total:.1f} {unit} ({stages}), of which distilling {self.distilling:.1f}"

    def steps_that_fit(self, budget: float, steps: int) -> int:
        """Steps of a distillation with which the whole would take ``budget`` hours; 0 where nothing helps."""
        left = budget - (self.total - self.distilling)
        return max(0, int(steps * left / self.distilling + 1e-6))


def estimate(study: Study) -> Estimate:
    """Time a few steps of everything and count.

    What is there already is not taken off: the figure is of the whole study.

    Args:
        study: with its tasks.

    Returns:
        The estimate.
    """
    settings = study.settings
    facts = cache_facts(study.folder)
    if facts is None:
        frames = sum(len(choose_images(study.tasks, images, settings.per_set)) for images in ("all", "held"))
        features = frames * _teachers_seconds(study)
    else:
        features = facts["cpu_seconds" if _on_cpu(study) else "wall_seconds"]
    frozen, tuned = _probe_seconds(study, settings.backbone)
    counts = Counter({"screen": 0.0, "frozen": 0.0, "tuned": 0.0})
    for task in study.probed:
        if task.name in settings.screen_tasks:
            counts["screen"] += len(study.settings_of(task, settings.screen_shots))
        counts["frozen"] += len(study.settings_of(task, settings.shots))
        counts["tuned"] += len(study.settings_of(task, settings.tuned_shots))
    test = counts["frozen"] * frozen + counts["tuned"] * tuned  # frozen probes of the validation are tested as well

    several, single = (
        _step_seconds(study, settings.backbone, names) for names in (settings.teachers, (settings.simple,))
    )
    cells, seeds = grid(settings), settings.seeds
    balanced = sum(cell.agglomerates for cell in cells)
    without = WITHOUT_COARSE in settings.balancings
    new = seeds if settings.final_steps != settings.steps else seeds - 1  # seeds that the screening has not distilled
    screen = settings.steps * (balanced * several + (len(cells) - 1 - balanced) * single)
    finals = new * settings.final_steps * ((settings.best + 1 + without) * several + 2 * single)
    alone = new * settings.final_steps * (len(settings.teachers) - 1) * single  # one of them is a finalist
    elsewhere = others = 0.0
    for name in settings.other_students:
        step = _step_seconds(study, name, settings.teachers)
        elsewhere += settings.final_steps * step * (settings.on_other_students + single / several)
        others += (settings.on_other_students + 1) * test * step / several
    ship = settings.ship_steps * several
    seconds = {
        "features": features,
        "screen": screen + len(cells) * counts["screen"] * frozen,
        "finals": finals + (settings.best + 4 + without) * seeds * test,
        "students": alone + elsewhere + others,
        "ship": ship + test,
    }
    distilling = screen + finals + alone + elsewhere + ship
    return Estimate({stage: value / 3600 for stage, value in seconds.items()}, distilling / 3600)


def _teachers_seconds(study: Study) -> float:
    """One frame through all teachers."""
    name, place = choose_images(study.tasks, "all")[0]
    frame = torch.from_numpy(study.tasks[name].frames[place]).float()[None, None] / 255
    seconds = 0.0
    for teacher in teachers(study.settings):
        teacher.to(study.device)
        began = _now(study)
        teacher(frame.to(study.device))
        seconds += _now(study) - began
    return seconds


def _step_seconds(study: Study, backbone: str, names: Sequence[str]) -> float:
    """One step of a distillation of these teachers: the median of three, after one that is not counted."""
    settings = study.settings
    cell = StudyCell("equal" if len(names) > 1 else f"single_{names[0]}", settings.targets[-1], backbone, 0)
    specs = {teacher.spec.name: teacher.spec for teacher in teachers(settings) if teacher.spec.name in names}
    shapes = {name: view_of(settings).shape(spec) for name, spec in specs.items()}
    learner = make_learner(cell, settings, shapes, 4, study.device)
    count, size = settings.batch, settings.size
    targets = {name: torch.randn(count, *shape, device=study.device) for name, shape in shapes.items()}
    affines = {}
    for name, shape in shapes.items():
        scale = size / shape[1]
        place = torch.tensor([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
        affines[name] = place.expand(count, 3, 3)
    batch = DistillationBatch(
        torch.rand(count, 1, size, size, device=study.device).contiguous(memory_format=torch.channels_last),
        torch.eye(3).expand(count, 3, 3),
        affines,
        targets,
        targets,
        {name: torch.ones(count, *shape[1:], device=study.device) for name, shape in shapes.items()},
    )
    times = []
    for _ in range(4):
        began = _now(study)
        with autocast(batch.image, "auto"):
            learner.backward(batch)
            learner.step(batch)
        times.append(_now(study) - began)
    return sorted(times[1:])[1]


def _probe_seconds(study: Study, backbone: str) -> tuple[float, float]:
    """A frozen and a tuned probe of the study's length, from shorter ones."""
    settings = study.settings
    student = new_student(StudyCell("scratch", "", backbone, 0))
    task = study.probed[0]
    maps = {part: encode(student, _frames(study, part), study.device) for part in ("train", "val")}
    seconds = []
    for mode, steps in (("frozen", settings.probe.steps), ("tuned", settings.probe.tuned_steps)):
        one, more = (
            _timed(study, student, task, mode, replace(settings.probe, steps=n, tuned_steps=n), maps) for n in (1, 4)
        )
        seconds.append(one + max(0.0, more - one) / 3 * (steps - 1))
    return seconds[0], seconds[1]


def _timed(study: Study, student, task, mode: str, settings, maps) -> float:
    began = _now(study)
    probe(student, task, "val", mode, 8, 0, settings, study.device, ProbeMemory(maps))
    return _now(study) - began


def _on_cpu(study: Study) -> bool:
    return torch.device(study.device).type == "cpu"


def _now(study: Study) -> float:
    """Seconds: of this process's processor time on a CPU."""
    if _on_cpu(study):
        return time.process_time()
    return now(torch.device(study.device))


def _frames(study: Study, part: str) -> torch.Tensor:
    task = study.probed[0]
    return torch.from_numpy(task.student_frames(task.indices(part), study.settings.size))[:, None]
