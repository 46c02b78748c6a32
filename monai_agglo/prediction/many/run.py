"""Segment the cines of a folder, or of a DICOMweb query, on many workers; an interrupted run resumes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.search import Case, find_cases
from monai_agglo.files import write_json
from monai_agglo.outputs import check_output
from monai_agglo.pacs import DicomWeb, parse_pacs
from monai_agglo.prediction.options import PredictOptions
from monai_agglo.prediction.run import CaseResult, failure_sentence, write_summary

from .engines import ENGINES, PoolEngine, RayEngine, TaskEngine, load_ray
from .tasks import Task, is_done, name_tasks, web_tasks

__all__ = ["ManyReport", "predict_many"]

logger = logging.getLogger(__name__)

SETTINGS = ".run.json"
ATTEMPTS = 3


@dataclass
class ManyReport:
    """Results for all cines.

    Args:
        output: the folder of the results.
        done: how many were segmented now.
        kept: how many were there from an earlier run.
        failed: why others failed, a sentence each.
        lost: how often a worker was killed and its cine was taken over.
        seconds: how long the run took.
        frames: in the cines that were segmented now.
        cpu_seconds: processor time that they took, on all workers, with the loading of the bundle.
    """

    output: Path
    done: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0
    frames: int = 0
    cpu_seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when all cines are segmented, 1 when some failed."""
        return int(bool(self.failed))

    def __str__(self) -> str:
        total = self.done + self.kept + len(self.failed)
        text = f"{self.done + self.kept} of {total} segmented"
        text += f", {self.kept} of them before" if self.kept else ""
        text += f", {self.lost} taken over from killed workers" if self.lost else ""
        return f"{text}; see {self.output}" + "".join(f"\n  failed: {text}" for text in self.failed)


def predict_many(
    source: str | os.PathLike,
    output: str | os.PathLike,
    bundle: str | os.PathLike | None = None,
    *,
    engine: str = "pool",
    workers: int | None = None,
    address: str | None = None,
    query: Mapping[str, str] | None = None,
    user: str | None = None,
    ca: str | None = None,
    attempts: int = ATTEMPTS,
    progress: bool = False,
    **options: Any,
) -> ManyReport:
    """Segment many cines at a time.

    ``output`` holds a folder per cine, ``summary.json`` and ``index.html``, as ``predict`` writes
    them for a folder. A cine whose result is whole and was made with the same weights is not segmented again: a run
    that was interrupted is started again with the same command. A cine whose worker is killed goes to another one; a
    cine that fails stops nothing.

    Args:
        source: a folder of cines, or ``https://...`` of a DICOMweb service.
        output: folder for the results; on a cluster all computers must see it at this path, and the source too.
        bundle: bundle folder or name; ``vfss_seg`` when None.
        engine: ``pool`` for processes on this computer, ``ray`` for a Ray cluster.
        workers: processes of the pool, or processors of a Ray cluster that is started here; all there are when None.
        address: of a running Ray cluster; None starts one on this computer.
        query: which studies of the DICOMweb service, by keyword.
        user, ca: for DICOMweb; the password comes from ``AGGLO_PACS_PASSWORD``, on every computer.
        attempts: how often a cine is tried whose worker dies, or that cannot be read or written for a while.
        progress: print a line per cine.
        options: fields of :class:`~monai_agglo.prediction.options.PredictOptions`.

    Returns:
        What was done; see its ``exit_code``.

    Raises:
        ValueError: when an argument, the output folder or the bundle cannot be used, or another run writes there.
        ConnectionError: when PACS or cluster cannot be reached.
        ImportError: when Ray is asked for and not installed.
        FileNotFoundError: when there is no such bundle.
    """
    from filelock import FileLock, Timeout

    from monai_agglo.processes import usable_processors

    if engine not in ENGINES:
        raise ValueError(f"engine is one of {', '.join(ENGINES)}, not {engine!r}")
    if address and engine != "ray":
        raise ValueError("an address is that of a Ray cluster: add --engine ray")
    for value, name in ((workers, "workers"), (attempts, "attempts")):
        if value is not None and value < 1:
            raise ValueError(f"{name} is a number from 1, not {value}")
    chosen = PredictOptions(bundle, **options)
    if engine == "ray":
        load_ray(address)
    target = check_output(output, chosen.overwrite)
    segmenter = chosen.segmenter()  # a bad bundle is no fault of the cines
    workers = workers or usable_processors()
    setup = chosen.to_json() | {"bundle": str(segmenter.folder), "device": segmenter.device}
    overwrite = setup.pop("overwrite")
    web = _web(source, user, ca)
    target.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(target / ".run.lock", timeout=0):
            _same_settings(target / SETTINGS, {**setup, "bundle": segmenter.identity()})
            started = time.monotonic()
            failed: list[tuple[Case, str]] = []
            if web is not None:
                tasks = web_tasks(web, dict(query or {}), progress)
            else:
                tasks, failed = _folder_tasks(source, target, chosen.any_modality, progress)
            run = _Run(target, segmenter.identity(), _files(setup), attempts, progress, len(tasks) + len(failed))
            run.refuse(failed)
            todo = run.remaining(tasks)
            threads = max(1, usable_processors() // min(workers, max(1, len(todo))))
            setup |= {"output": str(target), "overwrite": overwrite, "threads": threads if engine == "pool" else 0}
            setup["web"] = None if web is None else {"url": web.url, "user": user, "ca": ca}
            if todo:
                gpus = float(str(setup["device"]).startswith("cuda"))
                text = json.dumps(setup)
                pool: TaskEngine = (
                    PoolEngine(text, min(workers, len(todo)), threads)
                    if engine == "pool"
                    else RayEngine(text, address, workers, gpus)
                )
                try:
                    run.work(pool, todo)
                finally:
                    pool.close()
            return run.finish(engine, time.monotonic() - started)
    except Timeout:
        raise ValueError(f"{output}: another run writes there; wait for it, or give another folder") from None


def _web(source: str | os.PathLike, user: str | None, ca: str | None) -> DicomWeb | None:
    """The DICOMweb service, where the source is one."""
    text = os.fspath(source)
    if not text.startswith(("http:", "https:", "dicom:")):
        return None
    peer = parse_pacs(text, user, ca)
    if not isinstance(peer, DicomWeb):
        raise ValueError(
            f"{text}: a query needs DICOMweb (https://...); fetch single studies from a DICOM node instead"
        )
    return peer


def _folder_tasks(
    source: str | os.PathLike, target: Path, any_modality: bool, progress: bool
) -> tuple[list[Task], list[tuple[Case, str]]]:
    """Cines of a folder, and files that cannot be opened."""
    from tqdm import tqdm

    found, failed = [], []
    cases = find_cases(source, target)
    for case in tqdm(cases, desc="looking", unit="cine", disable=not progress, delay=2):
        try:
            paths = case.paths[0] if len(case.paths) == 1 else list(case.paths)
            found.append((case, open_cine(paths, any_modality=any_modality).meta["pseudonym"]))
        except Exception as error:
            failed.append((case, failure_sentence(error, case)))
    return name_tasks(found), failed


def _files(setup: Mapping[str, Any]) -> list[str]:
    """Files of a whole result."""
    wanted = {"masks.nii.gz": True, "contact_sheet.png": True, "overlay.mp4": setup["overlay"]}
    wanted |= {"seg.dcm": setup["dicom_seg"], "overlay.dcm": setup["dicom_overlay"]}
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _same_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to mix results of different options; results of other weights are replaced, as ``predict`` does."""
    settings = json.loads(json.dumps(settings))
    compared = ("size", "fps", "spacing_mm", "any_modality", "precision", "keep_identity")
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in compared if before.get(name) != settings[name]]
    except (OSError, ValueError):
        changed = []
    if changed:
        names = ", ".join(name.replace("_", "-") for name in changed)
        raise ValueError(f"{path.parent}: holds results of a run with another {names}; give another folder")
    write_json(path, {name: settings[name] for name in (*compared, "bundle")})


class _Run:
    """Tracks the state, attempts and result of each cine."""

    def __init__(
        self, target: Path, model: Mapping[str, Any], files: list[str], attempts: int, progress: bool, total: int
    ) -> None:
        self._target, self._model, self._files, self._attempts = target, model, files, attempts
        self._progress, self._total, self._number = progress, total, 0
        self._results: list[tuple[Case, CaseResult]] = []
        self._tries: Counter[str] = Counter()
        self.report = ManyReport(target)

    def refuse(self, failed: list[tuple[Case, str]]) -> None:
        """Record cines that could not be opened."""
        for case, error in failed:
            self._note(case, CaseResult(case.shown, None, error))

    def remaining(self, tasks: list[Task]) -> list[Task]:
        """Tasks without a complete result."""
        todo = []
        for task in tasks:
            if is_done(self._target / task.folder, task, self._model, self._files):
                self.report.kept += 1
                self._note(task.case(), self._whole(task), "before")
            else:
                todo.append(task)
        return todo

    def work(self, engine: TaskEngine, todo: list[Task]) -> None:
        """Run the tasks; tasks whose worker died, and transient failures, are retried after the others."""
        waiting = deque(task.to_json() for task in todo)
        running = 0
        while waiting or running:
            while waiting and running < engine.slots:
                engine.submit(waiting.popleft())
                running += 1
            for text, outcome in engine.wait():
                running -= 1
                task = Task.from_json(text)
                self._tries[task.folder] += 1
                self.report.lost += bool(outcome.get("lost"))
                if outcome["error"] and outcome["again"] and self._tries[task.folder] < self._attempts:
                    logger.warning("cine %s: %s; it is tried again", task.pseudonym, outcome["error"])
                    waiting.append(text)
                elif outcome["error"]:
                    self._note(task.case(), CaseResult(task.shown, None, self._reason(task, outcome)))
                else:
                    self.report.done += 1
                    self.report.frames += outcome["frames"]
                    self.report.cpu_seconds += outcome["cpu_seconds"]
                    self._note(task.case(), self._whole(task))

    def finish(self, engine: str, seconds: float) -> ManyReport:
        """Write the summary and remove leftovers of killed workers."""
        for left in self._target.glob(".*.part"):
            shutil.rmtree(left, ignore_errors=True)
        self.report.seconds, self.report.cpu_seconds = round(seconds, 2), round(self.report.cpu_seconds, 2)
        ordered = sorted(self._results, key=lambda pair: pair[0].shown)
        counts = {"done": self.report.done, "kept": self.report.kept, "failed": len(self.report.failed)}
        facts = {"engine": engine, "seconds": self.report.seconds, "taken_over": self.report.lost, **counts}
        facts |= {"frames": self.report.frames, "cpu_seconds": self.report.cpu_seconds}
        write_summary(self._target, [result for _, result in ordered], [case for case, _ in ordered], **facts)
        return self.report

    def _whole(self, task: Task) -> CaseResult:
        # of the record only what the summary says: thousands of records would not fit
        return CaseResult(task.shown, self._target / task.folder, record={"source": {"pseudonym": task.pseudonym}})

    def _reason(self, task: Task, outcome: Mapping[str, Any]) -> str:
        text = outcome["error"] if task.shown in outcome["error"] else f"{task.shown}: {outcome['error']}"
        tries = self._tries[task.folder]
        return text if tries == 1 else f"{text} ({tries} times)"

    def _note(self, case: Case, result: CaseResult, word: str = "ok") -> None:
        self._number += 1
        self._results.append((case, result))
        if result.error:
            self.report.failed.append(result.error)
        if self._progress:
            where = result.error or f"{result.shown} -> {result.folder and result.folder.name}"
            print(f"{self._number}/{self._total} {'FAILED' if result.error else word} {where}", flush=True)
