"""What a student is worth on somebody's own pictures: few-shot segmentation probes against an untaught encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_agglo.distill.probes.bootstrap import TaskScores, difference, mean_dice
from monai_agglo.distill.probes.image_task import load_picture_task
from monai_agglo.distill.probes.probe import ProbeMemory, ProbeSettings, probe
from monai_agglo.distill.probes.tasks import Task
from monai_agglo.files import write_json
from monai_agglo.locate import find_bundle
from monai_agglo.networks import StudentEncoder, read_student

__all__ = ["UNTAUGHT", "probe_student", "probe_table"]

UNTAUGHT = "untaught"
"""The first student's network with random weights: what the decoder and the pictures do alone."""
GAIN, COLUMN = "  over untaught", 24


def probe_student(
    folder: str | os.PathLike,
    students: Sequence[str | os.PathLike] = (),
    shots: Sequence[int] = (8, 32, 0),
    seeds: int = 3,
    patient: str | None = None,
    tuned: bool = False,
    size: int = 256,
    settings: ProbeSettings | None = None,
    output: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Probe students on pictures with masks.

    A light decoder is trained on the frozen encoder's map, or together with it, on a few of the training pictures, and
    scored on the test pictures. The same pictures, first weights and batches serve every encoder, so that gains are
    paired.

    Args:
        folder: see :func:`~.picture_task.load_picture_task`.
        students: ``.safetensors`` files; the student of the bundle ``vfss_seg`` when empty.
        shots: training pictures; 0 for all. Numbers that the set is too small for are left out.
        seeds: of pictures, first weights and batches.
        patient: regular expression that finds the patient in a picture's path.
        tuned: also train encoders along.
        size: side of the squares that pictures are padded and scaled to.
        settings: of the probes.
        output: JSON file for the result.
        device: where to compute; a GPU where there is one when None.
        log: called with a line per step.

    Returns:
        Plain JSON: what the pictures are, and by encoder and ``mode-shots`` ``dice`` on the test pictures (fractions,
        mean with 95 % bootstrap interval over patients and seeds) and ``over_untaught``, the paired gain.

    Raises:
        ValueError: for pictures, masks or numbers that make no sense; one sentence.
        FileNotFoundError: when there is no such student.
        CheckpointError: for a file that is no student's.
    """
    if seeds < 1 or min(shots, default=-1) < 0:
        raise ValueError("a probe needs at least one seed, and numbers of training pictures (0 for all)")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoders = _encoders(students)
    task = load_picture_task(folder, size, patient, log=log)
    count = len(task.indices("train"))
    log(f"{task.name}: {count} pictures to train on, {len(task.indices('test'))} to test, split by {task.split_by}")
    log(f"structures: {', '.join(task.structures)}")
    chosen = [n for n in shots if 0 < n < count] + [0] * (0 in shots)
    if not chosen:
        raise ValueError(f"{folder} has {count} pictures to train on: ask for fewer, or for 0, which means all")
    settings = settings or ProbeSettings()
    modes = ("frozen", "tuned") if tuned else ("frozen",)
    scores: dict[str, dict[str, TaskScores]] = {}
    for name, encoder in encoders.items():
        memory = ProbeMemory()
        scores[name] = {
            f"{mode}-{n or 'all'}": _scores(encoder, task, mode, n, seeds, settings, device, memory)
            for mode in modes
            for n in chosen
        }
        shown = ", ".join(f"{key} {mean_dice([own]).mean:.3f}" for key, own in scores[name].items())
        log(f"{name}: mean Dice {shown}")
    report = {
        "folder": task.name, "structures": list(task.structures), "split_by": task.split_by, "seeds": seeds,
        "train": count, "test": len(task.indices("test")), "steps": settings.steps, "size": size,
        "encoders": {name: _described(own, scores[UNTAUGHT] if name != UNTAUGHT else None)
                     for name, own in scores.items()},
    }  # fmt: skip
    if output is not None:
        write_json(Path(output), report)
    return report


def probe_table(report: dict[str, Any]) -> str:
    """A report of :func:`probe_student` as lines of text."""
    keys = list(report["encoders"][UNTAUGHT])
    wide = max(len(name) for name in (*report["encoders"], GAIN))
    lines = [" ".join(["encoder".ljust(wide), *(key.rjust(COLUMN) for key in keys)])]
    for name, rows in report["encoders"].items():
        lines.append(" ".join([name.ljust(wide), *(_interval(rows[key]["dice"]).rjust(COLUMN) for key in keys)]))
        if name != UNTAUGHT:
            gains = (_interval(rows[key]["over_untaught"], "+").rjust(COLUMN) for key in keys)
            lines.append(" ".join([GAIN.ljust(wide), *gains]))
    return "\n".join(lines)


def _encoders(students: Sequence[str | os.PathLike]) -> dict[str, nn.Module]:
    """Students by name, after the untaught one."""
    paths = [Path(path) for path in students] or [find_bundle("vfss_seg") / "models" / "student.safetensors"]
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [path.as_posix() for path in paths]
    taught: dict[str, nn.Module] = {}
    facts: dict[str, Any] = {}
    for name, path in zip(names, paths):
        taught[name], card = read_student(path)
        facts = facts or dict(card["student"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {UNTAUGHT: StudentEncoder(**facts).eval(), **taught}


def _scores(
    encoder: nn.Module,
    task: Task,
    mode: str,
    shots: int,
    seeds: int,
    settings: ProbeSettings,
    device: str | torch.device,
    memory: ProbeMemory,
) -> TaskScores:
    rows = [probe(encoder, task, "test", mode, shots, seed, settings, device, memory) for seed in range(seeds)]
    dice = np.array([[[np.nan if d is None else d for d in row["dice"]]] for row in rows], float)
    return TaskScores(task.name, dice, tuple(rows[0]["sources"]))


def _described(own: dict[str, TaskScores], untaught: dict[str, TaskScores] | None) -> dict[str, Any]:
    rows = {key: {"dice": mean_dice([scores]).as_json()} for key, scores in own.items()}
    for key, scores in (untaught or {}).items():
        rows[key]["over_untaught"] = difference([own[key]], [scores]).as_json()
    return rows


def _interval(row: dict[str, Any], sign: str = "") -> str:
    low, high = row["ci95"]
    return f"{row['mean']:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
