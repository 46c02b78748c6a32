"""The study's report: figures as JSON, tables and plots, from whatever results there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_agglo.data.frame_window import describe_zoom
from monai_agglo.files import atomic_path

from .claims import Claim, check_claims
from .figures import Figures, Row, collect
from .images import cache_facts
from .plots import draw_plots
from .record import RECORD, write_record
from .report_tables import (
    dice_of,
    image_rows,
    method_rows,
    over_single,
    ratio_rows,
    retention_rows,
    screening_rows,
    student_rows,
    table,
    task_rows,
)
from .runner import Study
from .scores import worst

__all__ = ["as_json", "as_markdown", "write_report"]

COMMAND = "python -m experiments.agglo_study"
PARTS_OF = {"test": "test", "val": "validation", "screen": "validation (screening tasks)"}


def write_report(study: Study, folder: Path, command: str = COMMAND) -> Figures:
    """Write ``agglo_study.json``, ``agglo_study.md``, the plots beside it, and the record of all results.

    Args:
        study: whose results are read.
        folder: for the report.
        command: by which the study was run.

    Returns:
        The figures.

    Raises:
        RuntimeError: if there are no results yet.
    """
    figures = collect(study)
    claims = check_claims(study, figures)
    plots = draw_plots(figures, folder)
    texts = {
        "agglo_study.json": json.dumps(as_json(study, figures, command), indent=2) + "\n",
        "agglo_study.md": as_markdown(study, figures, claims, plots, command),
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    write_record(study.folder, folder / RECORD)
    return figures


def as_json(study: Study, figures: Figures, command: str = COMMAND) -> dict[str, Any]:
    """The published figures; gains are those of the method chosen on validation images.

    ``partial`` says what is missing, and on which images the figures are, as long as the study is not complete.
    """
    chosen = figures.rows.get(figures.chosen or "")
    content: dict[str, Any] = {
        "seeds": max(row.seeds for row in figures.rows.values()),
        "students": [study.settings.backbone, *figures.students],
        "tasks": _real_tasks(study, figures),
        "methods": _methods_json(figures.rows),
        "gain_over_simple": chosen.over_simple.as_json() if chosen and chosen.over_simple else None,
        "gain_over_equal": _gain_over_equal(chosen),
        "worst_teacher_retention_ratio": _rounded(worst(figures.retention_ratios)),
        "gain_over_best_single": figures.over_single[1].as_json() if figures.over_single else None,
        "compute_hours": round(figures.cpu_hours, 3),
        "command": command,
    }
    if note := _note(study, figures):
        content["partial"] = note
    return content


def as_markdown(study: Study, figures: Figures, claims: Sequence[Claim], plots: Sequence[str], command: str) -> str:
    """The report in words and tables."""
    facts = cache_facts(study.folder) or {}
    settings = study.settings
    seen = f" Of the images students see {describe_zoom(settings.zoom)}." if settings.zoom else ""
    lines = ["# Does agglomeration help? The study", ""]
    if note := _note(study, figures):
        kind = "Not a result yet" if figures.stage != "test" or settings.random_teachers else "Not complete"
        lines += [f"> **{kind}**: {note}.", ""]
    lines += [
        f"Written by `{command}`; figures beside it in `agglo_study.json`, the scores of every image in"
        f" `{RECORD}`. Dice in fractions, gains in points"
        " (hundredths) with 95 % bootstrap intervals over patients (or source images) and seeds, paired by image, seed,"
        " training images and first weights. Means are over tasks, then ways of probing, seeds and images; the phantom"
        " is apart. Methods are chosen on validation images; test images were seen neither by distillation nor by"
        " selection.",
        "",
        f"Student {settings.backbone} at {settings.size} px, {_steps(study, figures)} of {settings.batch} images from"
        f" random weights; teachers {', '.join(settings.teachers)}; simple distillation is {settings.simple} alone, raw"
        f" targets, mean squared error.{seen} Compute: {figures.cpu_hours:.1f} CPU-hours ({figures.wall_hours:.1f}"
        f" hours of processes), students distilled on {' and '.join(figures.devices) or 'nothing yet'}.",
        "",
        "## What the paper claims",
        "",
        *table(["claim", "verdict", "evidence"], [[c.text, c.verdict, c.evidence] for c in claims]),
        "",
        f"## Methods, on {PARTS_OF[figures.stage]} images",
        "",
        *method_rows(study, figures),
        "",
    ]
    lines += over_single(figures)
    for name in plots:
        lines += [f"![{_caption(name)}]({name})", ""]
    if figures.retention_ratios:
        lines += [
            "## Retention of the chosen method, against a student of each teacher alone",
            "",
            *ratio_rows(study, figures),
            "",
        ]
    lines += ["## By task", "", *task_rows(study, figures), ""]
    lines += [
        "## What students keep of their teachers, and who was listened to at the end",
        "",
        *retention_rows(figures),
        "",
    ]
    if figures.students:
        lines += ["## Other students, one seed", "", *student_rows(figures), ""]
    if figures.shipped:
        row = figures.shipped
        lines += [
            "## The student that is given away",
            "",
            f"{row.cell.name}, {settings.ship_steps} steps on images that are CC0, CC BY or drawn: mean Dice"
            f" {dice_of(row)} on test images of the real tasks"
            + (f", phantom {row.by_task['phantom']:.3f}" if "phantom" in row.by_task else "")
            + "; R2 "
            + ", ".join(f"{t} {v:.3f}" for t, v in row.retention.items())
            + ".",
            "",
        ]
    lines += [
        "## Screening: mean Dice on validation images, frozen probes, one seed",
        "",
        *screening_rows(study, figures),
        "",
    ]
    lines += ["## Images", "", *image_rows(study), ""]
    origins = [f"{name} ({own['licence']}, {own['weights_hash']})" for name, own in facts.get("teachers", {}).items()]
    lines += ["Teachers, their licences and the hashes of their weights: " + "; ".join(origins) + "."]
    return "\n".join(lines) + "\n"


def _steps(study: Study, figures: Figures) -> str:
    steps, final = study.settings.steps, study.settings.final_steps
    if figures.stage == "screen" or final == steps:
        return f"{steps} steps"
    return f"{final} steps ({steps} in the screening)"


def _note(study: Study, figures: Figures) -> str:
    notes = [figures.missing] if figures.missing else []
    if figures.stage != "test":
        notes.append(f"figures are on {PARTS_OF[figures.stage]} images")
    if study.settings.random_teachers:
        notes.append("teachers have RANDOM weights")
    return "; ".join(notes)


def _real_tasks(study: Study, figures: Figures) -> list[str]:
    any_row = next(iter(figures.rows.values()))
    return [task.name for task in study.probed if task.name in any_row.by_task and task.name != "phantom"]


def _gain_over_equal(chosen: Row | None) -> dict[str, Any] | None:
    if chosen is None:
        return None
    if chosen.over_equal is None:  # it is equal weights itself
        return {"mean": 0.0, "ci95": [0.0, 0.0]}
    return chosen.over_equal.as_json()


def _methods_json(rows: Mapping[str, Row]) -> dict[str, Any]:
    return {
        name: {
            "mean_dice": round(row.dice.mean, 5),
            "ci95": row.dice.as_json()["ci95"],
            "retention": {teacher: round(value, 5) for teacher, value in row.retention.items()},
        }
        for name, row in rows.items()
    }


def _caption(name: str) -> str:
    return name.removesuffix(".png").replace("agglo_study_", "").replace("_", " ")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
