"""The study from beginning to end: stages, and what each hands to the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from monai_agglo.distill.probes.phantom_task import PHANTOM
from monai_agglo.distill.probes.probe import ProbeMemory, probe
from monai_agglo.distill.probes.tasks import PictureSize, Task, load_tasks
from monai_agglo.files import atomic_path
from monai_agglo.outputs import keep_settings

from .cells import SCRATCH, SIMPLE, VARIANTS, StudyCell, with_seeds
from .choice import choose
from .distil import distil, load_student, student_path
from .images import build_caches
from .plan import StudySettings, finalists, grid, singles
from .units import Unit, UnitStore

__all__ = ["STAGES", "Study"]

STAGES = ("features", "screen", "finals", "students", "ship")


class Study:
    """A study in a folder; any number of processes may run the same one.

    Args:
        settings: of the study. A folder keeps its own: other ones are refused.
        data: folder of the real sets.
        folder: of everything that is made.
        device: where students are trained and probed.
        log: told what is going on.
    """

    def __init__(
        self,
        settings: StudySettings,
        data: Path,
        folder: Path,
        device: str | torch.device = "cpu",
        log: Callable[[str], None] = print,
    ) -> None:
        self.settings, self.folder, self.device, self.log = settings, Path(folder), device, log
        keep_settings(self.folder / "settings.json", settings.as_json(), "study")
        self.store = UnitStore(self.folder)
        self._choice = self.folder / "choice.json"
        self._memory = ("", ProbeMemory())  # of the last student and task: its test follows its validation
        size = PictureSize(settings.frame, settings.size)
        self.tasks = load_tasks(
            data, size, self.folder / "prepared", settings.tasks, settings.phantom, settings.split_seed, log
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
            self.log(f"stage {stage}")
            getattr(self, f"_{stage}")()

    def ship(self, cell: StudyCell) -> Path:
        """Distil and probe a student that may be given away, of another method than the choice, and do nothing else.

        Args:
            cell: the method.

        Returns:
            The student's file.
        """
        cell = self.given_away(cell)
        self._features()
        self._do([cell], "test")
        return student_path(self.folder, cell)

    def settings_of(self, task: Task, shots: Sequence[int]) -> list[int]:
        """Numbers of training images that a task is large enough for; 0 stands for all."""
        count = len(task.indices("train"))
        return [n for n in shots if n == 0 or n < count]

    def scores(self, stage: str, cell: StudyCell, task: Task) -> dict[str, Any] | None:
        """Probe results of a cell on a task, by ``mode-shots``; None where there are none yet.

        A finalist is tested while the finals are going on, as its student is there; nobody is shown a test before the
        choice is written.
        """
        if stage == "test" and not self.chosen:
            return None
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

    @property
    def chosen(self) -> bool:
        """Whether the choice is written."""
        return self._choice.is_file()

    # what each stage decides

    def screening(self) -> dict[StudyCell, float]:
        """Mean Dice of every cell of the grid on validation images; only of those that are done."""
        found = {cell: self.mean_score("screen", [cell], self.settings.screen_tasks) for cell in grid(self.settings)}
        return {cell: score for cell, score in found.items() if score is not None}

    def finalists(self) -> list[StudyCell]:
        """Cells of seed 0 that are distilled for longer and with more seeds.

        Raises:
            RuntimeError: before the screening is complete.
        """
        score = self.screening()
        if len(score) < len(grid(self.settings)):
            raise RuntimeError("the screening is not complete: there are no finalists yet")
        return finalists(self.settings, score)

    def ranking(self) -> list[tuple[StudyCell, float]]:
        """Finalists of all teachers by mean Dice on validation images of the real tasks, the best first.

        Raises:
            RuntimeError: before the finals are complete.
        """
        ranked = []
        for cell in self.finalists():
            if cell.may_be_chosen:
                score = self.mean_score("val", with_seeds([cell], self.settings.seeds), self.judged)
                if score is None:
                    raise RuntimeError("the finals are not complete: nothing is chosen yet")
                ranked.append((cell, score))
        return sorted(ranked, key=lambda pair: -pair[1])

    def choice(self) -> StudyCell:
        """The method chosen, written down before the result of any test is read, and never changed after.

        See :func:`~.choice.choose`.
        """
        with FileLock(self._choice.with_suffix(".lock")):
            if not self.chosen:
                with atomic_path(self._choice) as partial:
                    partial.write_text(json.dumps(choose(self), indent=1), encoding="utf-8")
            chosen = json.loads(self._choice.read_text(encoding="utf-8"))["chosen"]
        return next(cell for cell in self.finalists() if cell.id == chosen)

    def other_students(self) -> list[StudyCell]:
        """The choice, the best of the others and simple distillation on other backbones, one seed."""
        chosen = self.choice()
        others = [cell for cell, _ in self.ranking() if cell != chosen]
        best = [chosen, *others][: self.settings.on_other_students]
        (simple,) = (cell for cell in self.finalists() if cell.method == SIMPLE)
        return [cell.at(backbone=name) for name in self.settings.other_students for cell in [*best, simple]]

    def shipped(self) -> StudyCell:
        """The student that is given away: the chosen method on images that allow it."""
        return self.given_away(self.choice())

    def given_away(self, cell: StudyCell) -> StudyCell:
        """A method's student that may be given away."""
        return cell.at(images="shippable", steps=self.settings.ship_steps)

    # stages

    def _features(self) -> None:
        build_caches(self.tasks, self.settings, self.folder, self.device)

    def _screen(self) -> None:
        self._do(grid(self.settings), "screen", tasks=[t for t in self.probed if t.name in self.settings.screen_tasks])

    def _finals(self) -> None:
        self._do(with_seeds(self.finalists(), self.settings.seeds), "val", "test")
        self.choice()

    def _students(self) -> None:
        alone = singles(self.settings, self.choice()).values()
        self._do(with_seeds(list(alone), self.settings.seeds))
        self._do(self.other_students(), "test")

    def _ship(self) -> None:
        self._do([self.shipped()], "test")

    def _do(self, cells: Sequence[StudyCell], *stages: str, tasks: Sequence[Task] | None = None) -> None:
        """Distil every cell and probe it, one after the other, so that little is half done at any time."""
        units: dict[str, Unit] = {}
        for cell in cells:
            probes = [self._probing(stage, cell, task) for task in tasks or self.probed for stage in stages]
            if not all(self.store.path(unit.key).is_file() for unit in probes):
                self._miss(cell)
            units |= {unit.key: unit for unit in [*self._distilling(cell), *probes]}
        self.store.run(list(units.values()), self.log)

    def _miss(self, cell: StudyCell) -> None:
        """A student that is gone, as in a study that was restored from its record, is distilled anew."""
        gone = student_path(self.folder, cell)
        if cell.method != SCRATCH:
            self.store.forget(self.distil_key(cell), lambda: not gone.is_file())

    def _distilling(self, cell: StudyCell) -> list[Unit]:
        """The distillation of a cell, after those that it has to know about; nothing for ``scratch``."""
        if cell.method == SCRATCH:
            return []
        before = list(singles(self.settings, cell.at(seed=0)).items()) if cell.method in VARIANTS else []

        def work() -> dict[str, Any]:
            alone = {teacher: self._last_loss(single) for teacher, single in before} or None
            return distil(cell, self.settings, self.tasks, self.folder, self.device, alone)

        needs = tuple(self.distil_key(single) for _, single in before)
        return [*(unit for _, single in before for unit in self._distilling(single)),
                Unit(self.distil_key(cell), work, needs)]  # fmt: skip

    def _last_loss(self, single: StudyCell) -> float:
        """The loss with which the student of one teacher alone ended."""
        trace = (self.store.get(self.distil_key(single)) or {})["trace"]
        return float(np.mean([point["losses"][0] for point in trace[-max(1, len(trace) // 10) :]]))

    def _probing(self, stage: str, cell: StudyCell, task: Task) -> Unit:
        needs = () if cell.method == SCRATCH else (self.distil_key(cell),)
        return Unit(self.probe_key(stage, cell, task), lambda: self._probe(stage, cell, task), needs)

    def _probe(self, stage: str, cell: StudyCell, task: Task) -> dict[str, Any]:
        """All probes of one student on one task; tuned ones belong to the test alone, since selection is by frozen."""
        part = "test" if stage == "test" else "val"
        modes = {"frozen": self.settings.screen_shots if stage == "screen" else self.settings.shots}
        if stage == "test":
            modes["tuned"] = self.settings.tuned_shots
        student = load_student(self.folder, cell)
        about = f"{cell.id}/{task.name}"
        if self._memory[0] != about:
            self._memory = (about, ProbeMemory())
        return {
            "cell": cell.id,
            "task": task.name,
            "part": part,
            "probes": {
                f"{mode}-{n or 'all'}": probe(
                    student, task, part, mode, n, cell.seed, self.settings.probe, self.device, self._memory[1]
                )
                for mode, shots in modes.items()
                for n in self.settings_of(task, shots)
            },
        }
