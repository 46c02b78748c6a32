"""The study from beginning to end: stages, and what each hands to the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from monai_agglo.data.atomic import atomic_path

from .choice import choose
from .distil import distil, load_student, student_path
from .images import build_caches
from .phantom_task import PHANTOM
from .plan import SCRATCH, SIMPLE, VARIANTS, StudyCell, StudySettings, finalists, grid, singles, with_seeds
from .probe import probe
from .tasks import PictureSize, Task, load_tasks
from .units import Unit, UnitStore

__all__ = ["STAGES", "Study"]

ADDING = ("long",)
"""Settings that only add results to those that are there."""
STAGES = ("features", "screen", "finals", "students", "test", "ship", "long")


class Study:
    """A study in a folder; any number of processes may run the same one.

    Args:
        settings: of the study. A folder keeps its own: other ones are refused.
        data: folder of the real sets.
        folder: of everything that is made.
        device: where students are trained and probed.
        say: told what is going on.
    """

    def __init__(
        self,
        settings: StudySettings,
        data: Path,
        folder: Path,
        device: str | torch.device = "cpu",
        say: Callable[[str], None] = print,
    ) -> None:
        self.settings, self.folder, self.device, self.say = settings, Path(folder), device, say
        _keep_settings(settings, self.folder)
        self.store = UnitStore(self.folder)
        size = PictureSize(settings.frame, settings.size)
        self.tasks = load_tasks(
            data, size, self.folder / "prepared", settings.tasks, settings.phantom, settings.split_seed, say
        )
        missing = set(settings.screen_tasks) - {task.name for task in self.probed}
        if missing:
            raise ValueError(f"the screening needs {', '.join(sorted(missing))}, which are not among the tasks")

    @property
    def probed(self) -> list[Task]:
        """Tasks with masks."""
        return [task for task in self.tasks.values() if not task.left_out]

    @property
    def judged(self) -> list[str]:
        """Names of the tasks by which methods are chosen: the real ones."""
        return [task.name for task in self.probed if task.name != PHANTOM] or [PHANTOM]

    def run(self, until: str = STAGES[-1]) -> None:
        """Do every stage that is not done.

        Args:
            until: the last stage to do.
        """
        for stage in STAGES[: STAGES.index(until) + 1]:
            self.say(f"stage {stage}")
            getattr(self, f"_{stage}")()

    def ship(self, cell: StudyCell) -> Path:
        """Distil and probe a student that may be given away, of another method than the choice, and do nothing else.

        Args:
            cell: the method.

        Returns:
            The student's file.
        """
        cell = cell.at(images="shippable")
        self._features()
        self._give_away(cell)
        return student_path(self.folder, cell)

    def settings_of(self, task: Task, shots: Sequence[int]) -> list[int]:
        """Numbers of training images that a task is large enough for; 0 stands for all."""
        count = len(task.indices("train"))
        return [n for n in shots if n == 0 or n < count]

    def scores(self, stage: str, cell: StudyCell, task: Task) -> dict[str, Any] | None:
        """Probe results of a cell on a task, by ``mode-shots``; None where there are none yet."""
        return self.store.get(self.probe_key(stage, cell, task))

    @staticmethod
    def probe_key(stage: str, cell: StudyCell, task: Task) -> str:
        """Key of the probes of a cell on a task."""
        return f"{stage}/{cell.id}/{task.name}"

    @staticmethod
    def distil_key(cell: StudyCell) -> str:
        """Key of a distillation."""
        return f"distil/{cell.id}"

    def mean_score(self, stage: str, cells: Sequence[StudyCell], names: Sequence[str] | None = None) -> float | None:
        """Mean over tasks of the mean over settings, seeds and images; None where a result is missing."""
        means = []
        for task in self.probed:
            if names is not None and task.name not in names:
                continue
            own = []
            for cell in cells:
                found = self.scores(stage, cell, task)
                if found is None:
                    return None
                values = [[np.nan if d is None else d for d in row["dice"]] for row in found["probes"].values()]
                own.append(np.mean([np.nanmean(v) for v in values]))
            means.append(float(np.mean(own)))
        return float(np.mean(means))

    # what each stage decides

    def screening(self) -> dict[StudyCell, float]:
        """Mean Dice of every cell of the grid on validation images; only of those that are done."""
        found = {cell: self.mean_score("screen", [cell], self.settings.screen_tasks) for cell in grid(self.settings)}
        return {cell: score for cell, score in found.items() if score is not None}

    def finalists(self) -> list[StudyCell]:
        """Cells of seed 0 that get more seeds.

        Raises:
            RuntimeError: before the screening is complete.
        """
        score = self.screening()
        if len(score) < len(grid(self.settings)):
            raise RuntimeError("the screening is not complete: there are no finalists yet")
        return finalists(self.settings, score)

    def ranking(self) -> list[tuple[StudyCell, float]]:
        """Agglomerating finalists by mean Dice on validation images of the real tasks, the best first.

        Raises:
            RuntimeError: before the finals are complete.
        """
        ranked = []
        for cell in self.finalists():
            if cell.agglomerates:
                score = self.mean_score("val", with_seeds([cell], self.settings.seeds), self.judged)
                if score is None:
                    raise RuntimeError("the finals are not complete: nothing is chosen yet")
                ranked.append((cell, score))
        return sorted(ranked, key=lambda pair: -pair[1])

    def choice(self) -> StudyCell:
        """The method chosen, written down before any test image is looked at, and never changed after.

        See :func:`~.choice.choose`.
        """
        path = self.folder / "choice.json"
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                with atomic_path(path) as partial:
                    partial.write_text(json.dumps(choose(self), indent=1), encoding="utf-8")
            chosen = json.loads(path.read_text(encoding="utf-8"))["chosen"]
        return next(cell for cell in self.finalists() if cell.id == chosen)

    def other_students(self) -> list[StudyCell]:
        """The choice, the best of the others and simple distillation on other backbones, one seed."""
        chosen = self.choice()
        others = [cell for cell, _ in self.ranking() if cell != chosen]
        best = [chosen, *others][: self.settings.on_other_students]
        simple = StudyCell(SIMPLE, "identity", self.settings.backbone, 0)
        return [cell.at(backbone=name) for name in self.settings.other_students for cell in [*best, simple]]

    def shipped(self) -> StudyCell:
        """The student that is given away: the chosen method on images that allow it."""
        return self.choice().at(images="shippable")

    def long_cells(self) -> list[StudyCell]:
        """What is distilled for longer, one seed: the finalists, and students of each teacher alone for the choice."""
        if not self.settings.long:
            return []
        cells = [*singles(self.settings, self.choice()).values(), *self.finalists()]
        return [cell.at(longer=self.settings.long) for cell in dict.fromkeys(cells) if cell.method != SCRATCH]

    # stages

    def _features(self) -> None:
        build_caches(self.tasks, self.settings, self.folder, self.device)

    def _screen(self) -> None:
        cells = grid(self.settings)
        self.store.run(self._distillations(cells), self.say)
        tasks = [task for task in self.probed if task.name in self.settings.screen_tasks]
        self.store.run(self._probes("screen", cells, tasks), self.say)

    def _finals(self) -> None:
        self._students_of(with_seeds(self.finalists(), self.settings.seeds), "val")

    def _students(self) -> None:
        self.choice()
        self.store.run(self._distillations(self.other_students()), self.say)

    def _test(self) -> None:
        self.choice()
        self._students_of([*with_seeds(self.finalists(), self.settings.seeds), *self.other_students()], "test")

    def _ship(self) -> None:
        self._give_away(self.shipped())

    def _long(self) -> None:
        self._students_of(self.long_cells(), "test")

    def _give_away(self, cell: StudyCell) -> None:
        self.store.run([self._distillation(cell, self.settings.ship_steps)], self.say)
        self.store.run(self._probes("test", [cell], self.probed), self.say)

    def _students_of(self, cells: Sequence[StudyCell], stage: str) -> None:
        self.store.run(self._distillations(cells), self.say)
        self.store.run(self._probes(stage, cells, self.probed), self.say)

    def _distillations(self, cells: Sequence[StudyCell]) -> list[Unit]:
        return [self._distillation(cell) for cell in dict.fromkeys(cells) if cell.method != SCRATCH]

    def _distillation(self, cell: StudyCell, steps: int | None = None) -> Unit:
        def work() -> dict[str, Any]:
            alone = self._alone(cell) if cell.method in VARIANTS else None
            return distil(cell, self.settings, self.tasks, self.folder, self.device, steps, alone)

        return Unit(self.distil_key(cell), work)

    def _alone(self, cell: StudyCell) -> dict[str, float]:
        """By teacher, the loss with which the student of it alone ended, on the study's own backbone and images."""
        cells = singles(self.settings, cell.at(seed=0))
        self.store.run(self._distillations(list(cells.values())), self.say)
        losses = {}
        for teacher, single in cells.items():
            trace = (self.store.get(self.distil_key(single)) or {})["trace"]
            losses[teacher] = float(np.mean([point["losses"][0] for point in trace[-max(1, len(trace) // 10) :]]))
        return losses

    def _probes(self, stage: str, cells: Sequence[StudyCell], tasks: Sequence[Task]) -> list[Unit]:
        def unit(cell: StudyCell, task: Task) -> Unit:
            return Unit(self.probe_key(stage, cell, task), lambda: self._probe(stage, cell, task))

        return [unit(cell, task) for cell in dict.fromkeys(cells) for task in tasks]

    def _probe(self, stage: str, cell: StudyCell, task: Task) -> dict[str, Any]:
        """All probes of one student on one task; tuned ones belong to the test alone, since selection is by frozen."""
        part = "test" if stage == "test" else "val"
        modes = {"frozen": self.settings.screen_shots if stage == "screen" else self.settings.shots}
        if stage == "test":
            modes["tuned"] = self.settings.tuned_shots
        try:
            student = load_student(self.folder, cell)
        except FileNotFoundError as error:
            result = self.store.path(self.distil_key(cell))
            raise FileNotFoundError(f"{error}: delete {result}, and the student will be distilled again") from error
        maps: dict[str, torch.Tensor] = {}
        return {
            "cell": cell.id,
            "task": task.name,
            "part": part,
            "probes": {
                f"{mode}-{n or 'all'}": probe(
                    student, task, part, mode, n, cell.seed, self.settings.probe, self.device, maps
                )
                for mode, shots in modes.items()
                for n in self.settings_of(task, shots)
            },
        }


def _keep_settings(settings: StudySettings, folder: Path) -> None:
    """Write the settings into a new folder, and refuse other ones in an old one.

    Raises:
        ValueError: naming what differs.
    """
    path = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "settings.lock"):
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            now = settings.as_json()
            other = sorted(name for name in {*kept, *now} - {*ADDING} if kept.get(name) != now.get(name))
            if other:
                raise ValueError(f"{folder} holds a study with other {', '.join(other)}: choose another folder")
            return
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(settings.as_json(), indent=1), encoding="utf-8")
