"""Suite: cost and memory by number of frames, image size and number of processes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from .context import Context
from .end_to_end import make_masks
from .files import JPEG, phantom_frames, write_dicom
from .interleave import Candidate, measure_interleaved
from .worker import Case

__all__ = ["WHAT", "growth", "make_predict", "make_team"]

WHAT = (
    "Frames: predict from a JPEG DICOM file to all its files, a process each, longer cines last. Size: from the "
    "file to masks in memory, the network sees 512 px as the bundle has it. Workers: that many processes with one"
    " thread each, all at work at once, frames per second of all together."
)
SIZES = (256, 512, 768, 1024)


def growth(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``frames``, ``sizes`` and ``workers``, a list of rows each.
    """
    size = context.pick(512, 64)
    result: dict[str, Any] = {"what": WHAT, "size": size}
    result["frames"] = _frames(context, size)
    result["sizes"] = _sizes(context)
    result["workers"] = _workers(context, size)
    return result


def _file(context: Context, size: int, count: int) -> str:
    frames, _ = phantom_frames(context.work, min(count, context.pick(16, 4)), size)
    return str(write_dicom(context.work / f"growth_{size}_{count}.dcm", frames, JPEG, count))


def _frames(context: Context, size: int) -> list[dict[str, Any]]:
    """Cines of tenfold length each; one that would exceed the remaining time is skipped."""
    rows: list[dict[str, Any]] = []
    options = {"runtime": "auto", "precision": "fp32", "network_size": size if size < 512 else None}
    for count in context.pick((30, 300, 3000), (4, 12)):
        row: dict[str, Any] = {"frames": count}
        known = rows[-1].get("ms") if rows else None
        if known is not None and count * known / 1000 > 2 * context.left:
            row["reason"] = f"not run: it would take {count * known / 6e4:.0f} minutes, more than was left"
        else:
            path = _file(context, size, count)
            make = f"{__name__}:{make_predict.__name__}"
            candidate = Candidate("predict", make, {"path": path, "frames": count, **options}, context.pick(2, 1), 1)
            (measured,) = measure_interleaved([candidate], context.left, context.log)
            row |= measured.summary()
        rows.append(row)
    return rows


def _sizes(context: Context) -> list[dict[str, Any]]:
    count = context.pick(32, 3)
    sizes = context.pick(SIZES, (64, 80))
    paths = {str(size): _file(context, size, count) for size in sizes}
    options = {"runtime": "auto", "precision": "fp32", "paths": paths, "frames": count, "network": False}
    options |= {"network_size": context.pick(None, 64), "threads": context.pick(2, 1)}
    make = f"{make_masks.__module__}:{make_masks.__name__}"
    candidate = Candidate("sizes", make, options, context.pick(2, 1), context.pick(4, 2))
    rows = measure_interleaved([candidate], context.share(0.2), context.log)
    return [{"size": int(row.case) if row.case else None} | row.summary() for row in rows]


def _workers(context: Context, size: int) -> list[dict[str, Any]]:
    count = context.pick(64, 3)
    path = _file(context, size, count)
    candidates = [
        Candidate(f"{team}", f"{__name__}:{make_team.__name__}",
                  {"path": path, "frames": count, "team": team, "network_size": size if size < 512 else None}, 1,
                  context.pick(4, 1))
        for team in (1, 2)
    ]  # fmt: skip
    rows = measure_interleaved(candidates, context.share(0.2), context.log)
    # CPU time and memory of the parent process would be misleading
    return [{"workers": int(row.candidate)} | row.summary() | {"cpu_ms": None, "peak_mb": None} for row in rows]


def make_predict(path: str, frames: int, runtime: str, precision: str, network_size: int | None) -> dict[str, Case]:
    """One run of ``predict``.

    Args:
        path: the DICOM file.
        frames: number of frames.
        runtime: as in ``predict``.
        precision: as in ``predict``.
        network_size: longer side of the network input; the bundle's own if None.

    Returns:
        One case.
    """
    from monai_agglo.prediction.run import predict

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            options = {"device": "cpu", "size": network_size, "runtime": runtime, "precision": precision}
            predict(path, Path(folder) / "out", **options)
        return {}

    return {"predict": Case(run, frames, 2, once=True)}


def make_team(path: str, frames: int, team: int, network_size: int | None) -> dict[str, Case]:
    """Several processes segmenting one file concurrently.

    Args:
        path: the DICOM file.
        frames: number of frames.
        team: number of processes.
        network_size: longer side of the network input; the bundle's own if None.

    Returns:
        One case; its units are the frames of all processes.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    setting = (path, frames, network_size)
    pool = ProcessPoolExecutor(team, mp_context=get_context("spawn"), initializer=_start, initargs=setting)

    def call() -> None:
        # a barrier is not needed: a call is long beside the time that passes between two submissions
        for job in [pool.submit(_work) for _ in range(team)]:
            job.result()

    def wait() -> None:
        for job in [pool.submit(time.sleep, 1) for _ in range(team)]:  # until every process has started
            job.result()

    wait()
    return {"team": Case(call, frames * team, 1, close=pool.shutdown)}


_CASE: dict[str, Case] = {}


def _start(path: str, frames: int, network_size: int | None) -> None:
    _CASE.update(make_masks("auto", "fp32", {"masks": path}, frames, network_size, 1, False))
    _CASE["masks"].call()


def _work() -> None:
    _CASE["masks"].call()
