"""The study's command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch

from monai_agglo.distill.probes.tasks import shared_folder
from monai_agglo.engines import keep_freed_memory

from .estimate import estimate
from .plan import COMPACT, StudySettings, cell_named
from .record import restore_record
from .report import COMMAND, write_report
from .runner import STAGES, Study

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, or go on with it, and write its report.

    Args:
        arguments: of the command line; those of the process when None.
    """
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--shared", help="folder above the real sets' (default: AGGLO_SHARED or ../shared)")
    parser.add_argument("--output", type=Path, default=Path("agglo_study"), help="everything that is made (several GB)")
    parser.add_argument("--report", type=Path, default=Path("docs/results"), help="folder of tables and plots")
    start = "record of a study to go on from, in a new --output; a report writes one"
    parser.add_argument("--from", dest="record", type=Path, metavar="FILE", help=start)
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage to do")
    parser.add_argument("--report-only", action="store_true", help="report on what is there, compute nothing")
    parser.add_argument("--estimate-only", action="store_true", help="say what it would cost, and stop")
    parser.add_argument("--budget-hours", type=float, default=24, help="refuse to start a larger study; 0: any")
    parser.add_argument(
        "--compact", action="store_true", help="a study of some hours on two cores, for directions only"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of this process; start one process per core")
    parser.add_argument("--steps", type=int, help="of a distillation of the screening")
    final = "of the finalists' distillations (default: 4 x --steps)"
    parser.add_argument("--final-steps", type=int, help=final)
    parser.add_argument("--seeds", type=int, help="of the finalists")
    parser.add_argument("--batch", type=int, help="images per step")
    zoom = "students see a random part of a frame, magnified by LEAST to MOST (default: 0.7 1.6; 1 1: all of it)"
    parser.add_argument("--zoom", type=float, nargs=2, metavar=("LEAST", "MOST"), help=zoom)
    ship = "only distil and probe a student of this method, as tables name it, on images that allow giving it away"
    parser.add_argument("--ship", metavar="METHOD", help=ship)
    parser.add_argument("--ship-steps", type=int, help="of the student that is given away (default: 8 x --steps)")
    parser.add_argument("--random-weights", action="store_true", help="teachers without weights, to try the plumbing")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)  # every process would take all cores of the computer otherwise
    keep_freed_memory()
    if args.ship and (args.report_only or args.estimate_only):
        parser.error("--ship distils a student: it does not go with --report-only or --estimate-only")
    names = ("steps", "final_steps", "seeds", "batch", "ship_steps", "zoom")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.zoom:
        given["zoom"] = tuple(args.zoom)
    usual = {} if args.steps is None else {"final_steps": 4 * args.steps, "ship_steps": 8 * args.steps}
    try:
        settings = StudySettings(random_teachers=args.random_weights, **(COMPACT if args.compact else {}))
        settings = settings.changed(**usual | given)
        shipped = cell_named(settings, args.ship) if args.ship else None
        data = shared_folder(args.shared)
        if args.record:
            _say(f"{restore_record(args.record, args.output)} results from {args.record}")
        study = Study(settings, data, args.output, args.device, _say)
        if shipped:
            _say(f"{study.ship(shipped)}: python -m monai_agglo ship-student puts it into the segmenter's bundle")
            return
        if not args.report_only:
            if not _affordable(study, args) or args.estimate_only:
                return
            study.run(args.until)
        figures = write_report(study, args.report, _command(args, given))
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    _say(f"report in {args.report}: {figures.missing or 'the study is complete'}")


def _command(args: argparse.Namespace, given: Mapping[str, Any]) -> str:
    """The command with what the results depend on."""
    values = {name: value if isinstance(value, tuple) else (value,) for name, value in given.items()}
    changed = [f"--{name.replace('_', '-')} {' '.join(map(str, value))}" for name, value in values.items()]
    return " ".join([COMMAND, *(["--compact"] if args.compact else []), *changed])


def _affordable(study: Study, args: argparse.Namespace) -> bool:
    """Print what the study will cost; False where that is over the budget and nothing has been done yet."""
    if study.store.finished() and not args.estimate_only:
        return True
    found = estimate(study)
    _say(found.describe(args.device))
    if not args.budget_hours or found.total <= args.budget_hours:
        return True
    steps = found.steps_that_fit(args.budget_hours, study.settings.steps)
    remedy = f"--steps {steps} would keep it" if steps else "fewer --seeds would help"
    _say(f"that is more than the budget of {args.budget_hours:g} hours: {remedy}, --budget-hours 0 starts it as it is")
    return args.estimate_only


def _say(text: str) -> None:
    print(f"[{os.getpid()}] {text}", flush=True)
