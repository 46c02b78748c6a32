"""Segmentation of one cine in a worker, for the pool and for Ray."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_agglo.prediction.run import PredictJob

__all__ = ["segment_lines", "segment_task"]


def segment_task(setup_text: str, task_text: str) -> dict[str, Any]:
    """Segment one cine; errors are returned, never raised.

    Args:
        setup_text: settings shared by all tasks, as JSON: see :func:`~.run.predict_many`.
        task_text: a :class:`~.tasks.Task` as JSON.

    Returns:
        ``error`` (one sentence, empty when it worked), ``again``: whether another try may help, and what it cost:
        ``frames``, ``cpu_seconds`` and ``seconds``.
    """
    from monai_agglo.outputs import check_output
    from monai_agglo.prediction.run import failure_sentence, segment_case

    from .tasks import Task

    setup, task = json.loads(setup_text), Task.from_json(task_text)
    begun, busy = time.monotonic(), time.process_time()
    fetched: Path | None = None
    case = task.case([Path(task.shown)] if task.instances else ())
    try:
        job = _job(setup_text)
        target = check_output(Path(setup["output"]) / task.folder, setup["overwrite"])
        if task.instances:
            fetched = Path(tempfile.mkdtemp(prefix="agglo-fetch-"))
            case = task.case(_fetch(setup["web"], task, fetched))
        record = segment_case(case, lambda _: target, job, "")
        if record["source"]["pseudonym"] != task.pseudonym:
            shutil.rmtree(target, ignore_errors=True)
            raise ValueError("this computer has another key of pseudonyms: let MONAI_AGGLO_HOME name a shared folder")
        spent = {"cpu_seconds": time.process_time() - busy, "seconds": time.monotonic() - begun}
        return {"error": "", "again": False, "frames": record["frames"]["count"], **spent}
    except Exception as error:
        again = isinstance(error, (OSError, MemoryError)) and not isinstance(error, FileNotFoundError)
        text = failure_sentence(error, case)
        for path in case.paths if task.instances else ():  # a temporary file says nothing to anybody
            text = text.replace(str(path), task.shown)
        return {"error": text, "again": again}
    finally:
        if fetched is not None:
            shutil.rmtree(fetched, ignore_errors=True)


def segment_lines(job: dict[str, str]) -> dict[str, Any]:
    """:func:`segment_task` for a worker of the pool: ``setup`` and ``task`` as JSON texts."""
    import warnings

    warnings.simplefilter("ignore")
    return segment_task(job["setup"], job["task"])


def _fetch(web: dict[str, Any], task: Any, folder: Path) -> list[Path]:
    """The instances of a cine; the password comes from the environment and never travels with a task."""
    from monai_agglo.pacs import DicomWeb, parse_pacs

    peer = parse_pacs(web["url"], web["user"], web["ca"])
    assert isinstance(peer, DicomWeb)
    return [path for one in task.instances for path in peer.fetch(folder, task.study, task.series, one)]


@lru_cache(maxsize=1)
def _job(setup_text: str) -> PredictJob:
    """The bundle, loaded once per process."""
    from monai_agglo.prediction.options import PredictOptions
    from monai_agglo.prediction.run import PredictJob

    setup = json.loads(setup_text)
    if setup["threads"]:
        import cv2

        os.environ["OMP_NUM_THREADS"] = str(setup["threads"])
        cv2.setNumThreads(setup["threads"])
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(setup["threads"])
    options = {field.name: setup[field.name] for field in fields(PredictOptions) if field.name in setup}
    return PredictJob(PredictOptions(**options))
