"""The whole benchmark: suites one after the other, each saved on completion."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import monai_agglo
from monai_agglo.files import atomic_path

from .context import Context
from .machine import computer, versions
from .page import write_page
from .plots import draw_plots
from .targets import figures, targets

__all__ = ["SUITES", "BenchReport", "bench", "fingerprint", "write_report"]

SUITES: dict[str, float] = {
    "start_up": 3.0,
    "encoders": 6.0,
    "segmenters": 4.0,
    "precision": 1.5,
    "reading": 0.5,
    "end_to_end": 3.0,
    "growth": 4.0,
    "training": 2.0,
}
"""Suites in order, with their minutes of the default budget; each is a module with a function of that name."""
OUTPUT, QUICK_OUTPUT = Path("docs/results"), Path("bench_quick")
FILE = "bench.json"


@dataclass(frozen=True)
class BenchReport:
    """Result of a benchmark run.

    Args:
        file: the figures.
        failed: failed suites with their errors.
        missing: suites not run for lack of time.
    """

    file: Path
    failed: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if all requested suites are complete."""
        return int(bool(self.failed or self.missing))

    def __str__(self) -> str:
        lines = [f"failed: {name}: {reason}" for name, reason in self.failed.items()]
        lines += [f"no time was left for {name}; run again to resume" for name in self.missing]
        return "\n".join([str(self.file), str(self.file.with_suffix(".md")), *lines])


def bench(
    suites: Sequence[str] | None = None,
    output: str | os.PathLike | None = None,
    *,
    quick: bool = False,
    budget_minutes: float | None = None,
    work: str | os.PathLike | None = None,
    again: bool = False,
    before: str | os.PathLike | None = None,
    log: Callable[[str], None] = print,
) -> BenchReport:
    """Run the benchmark on this computer and write tables and plots.

    An interrupted run resumes: suites measured by the same code on the same computer are skipped until the benchmark is
    complete. Figures of an older run remain until they are remeasured.

    Args:
        suites: names of :data:`SUITES`; all if None. Named suites are always remeasured.
        output: folder of ``bench.json``, ``bench.md`` and the plots; ``docs/results``, or ``bench_quick`` with
            ``quick``, when None.
        quick: tiny sizes and two repeats, a functional check of a few minutes; figures are not meaningful.
        budget_minutes: approximate total time; repeats are dropped before suites. That of :data:`SUITES`
            if None.
        work: folder of reusable cines and networks, about 1 GB; in the user's cache if None.
        again: remeasure every suite.
        before: an older checkout of this project, measured interleaved with this one by ``start_up``.
        log: progress callback, one line per call.

    Returns:
        Result of a benchmark run.

    Raises:
        ValueError: for an unknown suite, a budget that is not positive, or an invalid ``bench.json``.
    """
    unknown = [name for name in suites or () if name not in SUITES]
    if unknown:
        raise ValueError(f"there is no suite {unknown[0]!r}; choose from {', '.join(SUITES)}")
    if budget_minutes is not None and not budget_minutes > 0:
        raise ValueError(f"budget-minutes must be above 0, not {budget_minutes}")
    if before is not None and not (Path(before) / "monai_agglo").is_dir():
        raise ValueError(f"{before} is no checkout of this project: it has no monai_agglo")
    folder = Path(output) if output is not None else QUICK_OUTPUT if quick else OUTPUT
    from monai_agglo.phantom.truth import GENERATOR_VERSION

    # one folder per phantom version
    place = (Path(work) if work is not None else _work_folder()) / f"phantom_{GENERATOR_VERSION}"
    path = folder / FILE
    place.mkdir(parents=True, exist_ok=True)
    report = _read(path)
    mark = fingerprint(quick)
    names = list(suites or SUITES)
    done = {name for name, result in report["suites"].items() if result.get("fingerprint") == mark}
    if not suites and not again and not done >= set(names):
        names = [name for name in names if name not in done]
    minutes = budget_minutes or sum(SUITES[name] for name in names)
    command = _command(suites, quick, budget_minutes)
    started = time.monotonic()
    failed, missing = {}, []
    for index, name in enumerate(names):
        left = 60 * minutes - (time.monotonic() - started)
        if left < 10:
            missing.append(name)
            continue
        seconds = left * SUITES[name] / sum(SUITES[other] for other in names[index:])
        log(f"{name}: about {seconds / 60:.1f} minutes")
        result = _suite(
            name, Context(place, quick, seconds, log, time.monotonic(), None if before is None else Path(before))
        )
        if "error" in result:
            failed[name] = result["error"]
            log(f"{name}: {result['error']}")
            continue
        report["suites"][name] = result | {"fingerprint": mark, "command": command, "computer": computer()}
        _write(path, report["suites"], quick)
    return BenchReport(path, failed, tuple(missing))


def _suite(name: str, context: Context) -> dict[str, Any]:
    function = getattr(importlib.import_module(f".{name}", __package__), name)
    before = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    moment = datetime.now(timezone.utc).isoformat(timespec="minutes")
    try:
        result = function(context)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    minutes = (time.monotonic() - context.started) / 60
    return result | {"started": moment, "minutes": round(minutes, 2), "load_average_before": before}


def write_report(path: str | os.PathLike) -> Path:
    """Rewrite figures, page and plots of a ``bench.json`` from its suites, without measurements.

    Args:
        path: the file.

    Returns:
        The page.
    """
    path = Path(path)
    report = _read(path)
    _write(path, report["suites"], bool(report.get("quick")), report.get("computer"), report.get("versions"))
    return path.with_suffix(".md")


def _write(
    path: Path, suites: dict[str, Any], quick: bool,
    machine: dict[str, Any] | None = None, software: dict[str, str] | None = None,
) -> None:  # fmt: skip
    suites = {name: suites[name] for name in SUITES if name in suites}
    headline = suites.get("end_to_end", next(iter(suites.values()), {}))
    machine, found = headline.get("computer") or machine or computer(), figures(suites)
    commands = list(dict.fromkeys(suite["command"] for suite in suites.values()))
    report = {
        "computer": machine,
        "versions": software or versions(),
        **found,
        "targets": targets(found, suites, machine, quick),
        "complete": set(suites) == set(SUITES) and _differ(suites, 0) == 1,
        "one_code": _differ(suites, 1) == 1,
        "quick": quick,
        "data": "synthetic cines of the phantom; weights as each row says, random ones do not change the speed",
        "command": " ; ".join(commands),
        "suites": suites,
    }
    report = _rounded(report)
    plots = draw_plots(report, path.parent)
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_page(report, plots, path.with_suffix(".md"))


def fingerprint(quick: bool) -> str:
    """Hash of weights, libraries, computer and kind of run, ``-``, hash of the code."""
    from monai_agglo.bundle import find_bundle

    place = hashlib.sha256(json.dumps([quick, versions(), computer()], sort_keys=True).encode())
    place.update((find_bundle("vfss_seg") / "models" / "model.pt").read_bytes())
    code = hashlib.sha256()
    for file in sorted(Path(monai_agglo.__file__).parent.rglob("*.py")):
        code.update(file.read_bytes())
    return f"{place.hexdigest()[:12]}-{code.hexdigest()[:12]}"


def _differ(suites: dict[str, Any], part: int) -> int:
    """Number of different environments (0) or codes (1) of the suites."""
    return len({suite["fingerprint"].partition("-")[2 * part] for suite in suites.values()})


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"suites": {}}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(report["suites"], dict)
        for suite in report["suites"].values():  # files of before name one computer for all
            suite.setdefault("computer", report["computer"])
    except (ValueError, KeyError, TypeError, AssertionError):
        raise ValueError(f"{path} is no file of this benchmark; give another --output") from None
    return report


def _command(suites: Sequence[str] | None, quick: bool, budget: float | None) -> str:
    parts = [
        "python -m experiments.benchmark",
        *(["--suite", *suites] if suites else []),
        *(["--quick"] if quick else []),
    ]
    return " ".join([*parts, *([f"--budget-minutes {budget:g}"] if budget is not None else [])])


def _work_folder() -> Path:
    from monai_agglo.prediction.runtimes import cache_folder

    return cache_folder().parent / "bench"


def _rounded(value: Any) -> Any:
    """Round to four significant digits, beyond the repeatability."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
