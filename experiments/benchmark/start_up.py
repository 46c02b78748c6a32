"""Suite: what a fresh process costs before and until its first result, today and in an older checkout."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import monai_agglo

from .context import Context
from .files import JPEG, phantom_frames, write_dicom

__all__ = ["WHAT", "start_up"]

WHAT = (
    "Fresh processes, one after the other, an older checkout in turns with this one where `--before` names it: median "
    "of the repeats. Processor time is that of the process and its children, memory the largest resident size. "
    "`predict` writes all its files, from a JPEG DICOM file. The child of `serve` decodes and segments one cine."
)
HERE = Path(monai_agglo.__file__).resolve().parents[1]
CHILDREN = ("monai_agglo.node.child", "monai_agglo.apps.serve.child")
"""Module of the child of ``serve``: today's, and its name in older checkouts."""


def start_up(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``rows``: one per task and checkout (``code`` is ``after`` or ``before``), each with ``cpu_s``, ``wall_s``,
        ``peak_mb`` and ``repeats``.
    """
    size, count, many = context.pick((512, 30, 3000), (64, 3, 6))
    short, long = (_cine(context, size, frames) for frames in (count, many))
    codes = {"after": HERE} | ({"before": context.before.resolve()} if context.before else {})
    tasks: dict[str, tuple[Sequence[str], int]] = {
        "help": (["--help"], context.pick(5, 1)),
        "wrong path": (["predict", "no_such_file.dcm", "--output", "OUT"], context.pick(3, 1)),
        f"predict, {count} frames": (["predict", short, "--output", "OUT", "--device", "cpu"], context.pick(3, 1)),
        f"predict, {many} frames": (["predict", long, "--output", "OUT", "--device", "cpu"], 1),
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for task, (arguments, repeats) in tasks.items():
            context.log(f"start_up: {task}")
            runs: dict[str, list[dict[str, float]]] = {code: [] for code in codes}
            for repeat in range(repeats):
                for code, checkout in codes.items():
                    out = str(Path(folder) / f"{len(rows)}{code}{repeat}")
                    words = [out if word == "OUT" else word for word in arguments]
                    runs[code].append(_run([sys.executable, "-m", "monai_agglo", *words], checkout, folder))
            rows += [{"task": task, "code": code, "repeats": repeats} | _median(found) for code, found in runs.items()]
        context.log("start_up: child of serve")
        for code, checkout in codes.items():
            found = _child(checkout, short, Path(folder) / f"child_{code}")
            rows.append({"task": "child of serve", "code": code, "repeats": 1} | found)
    return {"what": WHAT, "size": size, "frames": [count, many], "rows": rows}


def _cine(context: Context, size: int, count: int) -> str:
    frames, _ = phantom_frames(context.work, min(count, context.pick(16, 3)), size)
    return str(write_dicom(context.work / f"start_{size}_{count}.dcm", frames, JPEG, count))


def _environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout), "PYTHONWARNINGS": "ignore"}


LAUNCHER = """
import json, resource, subprocess, sys, time
begun = time.monotonic()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wall, used = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall, "peak_mb": used.ru_maxrss / 1024}))
"""
"""A process inherits the largest resident size of the one that starts it: the tasks are started by a small one."""


def _run(command: Sequence[str], checkout: Path, folder: str) -> dict[str, float]:
    """One process to its end."""
    launch = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launch, cwd=folder, env=_environment(checkout), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _median(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _child(checkout: Path, cine: str, folder: Path) -> dict[str, Any]:
    """Largest memory of the child of ``serve`` after one cine."""
    from pydicom import dcmread

    from monai_agglo.cine.identity import pseudonym

    folder.mkdir()
    module = next(name for name in CHILDREN if (checkout / f"{name.replace('.', '/')}.py").is_file())
    setup = {"bundle": None, "device": "cpu", "results": ["seg"], "any_view": True, "memory_mb": 8192}
    uid = str(dcmread(cine, stop_before_pixels=True).SOPInstanceUID)
    job = {"file": cine, "folder": str(folder), "object": pseudonym(uid)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    begun = time.monotonic()
    process: Any = subprocess.Popen(
        [sys.executable, "-m", module], cwd=folder, env=_environment(checkout), **pipes,  # type: ignore[call-overload]
    )  # fmt: skip
    try:
        for line in (setup, job):
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                raise RuntimeError(answer["error"])
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        cpu = sum(int(word) for word in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13])
    finally:
        process.kill()
        process.wait()
    peak = int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024  # type: ignore[index]
    wall = time.monotonic() - begun
    return {"cpu_s": cpu / os.sysconf("SC_CLK_TCK"), "wall_s": wall, "peak_mb": peak}
