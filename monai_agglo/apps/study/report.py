"""The study's report: figures as JSON, tables and plots, from whatever results there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_agglo.data.atomic import atomic_path

from .bootstrap import Estimate, difference
from .claims import Claim, check_claims, points
from .figures import Figures, Row, collect
from .images import cache_facts
from .plan import grid, with_seeds
from .plots import draw_plots
from .progress import PARTS
from .runner import Study
from .scores import task_scores, worst

__all__ = ["as_json", "as_markdown", "write_report"]

COMMAND = "python scripts/agglo_study.py"
PARTS_OF = {"test": "test", "val": "validation", "screen": "validation (screening tasks)"}


def write_report(study: Study, folder: Path, command: str = COMMAND) -> Figures:
    """Write ``agglo_study.json``, ``agglo_study.md`` and the plots beside it.

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
        "worst_teacher_retention_ratio": None if figures.retention_ratio is None else round(figures.retention_ratio, 5),
        **_long_json(study, figures),
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
    lines = ["# Does agglomeration help? The study", ""]
    if note := _note(study, figures):
        kind = "Not a result yet" if figures.stage != "test" or settings.random_teachers else "Not complete"
        lines += [f"> **{kind}**: {note}.", ""]
    lines += [
        f"Written by `{command}`; figures beside it in `agglo_study.json`. Dice in fractions, gains in points"
        " (hundredths) with 95 % bootstrap intervals over patients (or source images) and seeds, paired by image, seed,"
        " training images and first weights. Means are over tasks, then ways of probing, seeds and images; the phantom"
        " is apart. Methods are chosen on validation images; test images were seen neither by distillation nor by"
        " selection.",
        "",
        f"Student {settings.backbone} at {settings.size} px, {settings.steps} steps of {settings.batch} images from"
        f" random weights; teachers {', '.join(settings.teachers)}; simple distillation is {settings.simple} alone, raw"
        f" targets, mean squared error. Compute: {figures.cpu_hours:.1f} CPU-hours ({figures.wall_hours:.1f} hours of"
        f" processes), students distilled on {' and '.join(figures.devices) or 'nothing yet'}.",
        "",
        "## What the paper claims",
        "",
        *_table(["claim", "verdict", "evidence"], [[c.text, c.verdict, c.evidence] for c in claims]),
        "",
        f"## Methods, on {PARTS_OF[figures.stage]} images",
        "",
        *_methods(figures),
        "",
    ]
    if single := _over_single(study, figures):
        lines += [single, ""]
    for name in plots:
        lines += [f"![{_caption(name)}]({name})", ""]
    if figures.retention_ratios:
        lines += [
            "## Retention of the chosen method, against a student of each teacher alone",
            "",
            *_ratios(study, figures),
            "",
        ]
    if figures.progress:
        lines += ["## Is the training too short for several teachers?", "", *_progress(figures), ""]
    if figures.longer:
        lines += [f"## Distilled for {settings.long} times as long", "", *_longer(study, figures), ""]
    lines += ["## By task", "", *_by_task(study, figures), ""]
    lines += [
        "## What students keep of their teachers, and who was listened to at the end",
        "",
        *_retention(figures),
        "",
    ]
    if figures.students:
        lines += ["## Other students, one seed", "", *_students(figures), ""]
    if figures.shipped:
        row = figures.shipped
        lines += [
            "## The student that is given away",
            "",
            f"{row.cell.name}, {settings.ship_steps} steps on images that are CC0, CC BY or drawn: mean Dice"
            f" {_dice(row)} on test images of the real tasks"
            + (f", phantom {row.by_task['phantom']:.3f}" if "phantom" in row.by_task else "")
            + "; R2 "
            + ", ".join(f"{t} {v:.3f}" for t, v in row.retention.items())
            + ".",
            "",
        ]
    lines += [
        "## Screening: mean Dice on validation images, frozen probes, one seed",
        "",
        *_screening(study, figures),
        "",
    ]
    lines += ["## Images", "", *_images(study), ""]
    origins = [f"{name} ({own['licence']}, {own['weights_hash']})" for name, own in facts.get("teachers", {}).items()]
    lines += ["Teachers, their licences and the hashes of their weights: " + "; ".join(origins) + "."]
    return "\n".join(lines) + "\n"


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


def _over_single(study: Study, figures: Figures) -> str:
    """Gain of the chosen method over the best single teacher among the finalists, in a sentence."""
    found = _best_single(study, figures.rows, figures.chosen, figures.stage, study.settings.seeds)
    if found is None or figures.stage == "screen":
        return ""
    return f"{figures.chosen} over the best single teacher, {found[0]}: {points(found[1])} points."


def _best_single(
    study: Study, rows: Mapping[str, Row], chosen: str | None, stage: str, seeds: int
) -> tuple[str, Estimate] | None:
    """Name of the best student of one teacher among some rows, and the gain of the chosen method over it."""
    alone = [row for row in sorted(rows.values(), key=_by_dice) if row.cell.method.startswith("single_")]
    row = rows.get(chosen or "")
    if row is None or not alone:
        return None
    ours, theirs = (task_scores(study, stage, with_seeds([own.cell], seeds)) for own in (row, alone[0]))
    return None if ours is None or theirs is None else (alone[0].cell.name, difference(ours, theirs))


def _by_dice(row: Row) -> float:
    return -row.dice.mean


def _dice(row: Row) -> str:
    return f"{row.dice.mean:.3f} [{row.dice.low:.3f}, {row.dice.high:.3f}]"


def _sorted(figures: Figures) -> list[tuple[str, Row]]:
    return sorted(figures.rows.items(), key=lambda pair: _by_dice(pair[1]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)]


def _methods(figures: Figures) -> list[str]:
    keys = list(dict.fromkeys(key for row in figures.rows.values() for key in row.by_setting))
    body = []
    for name, row in _sorted(figures):
        shown = f"**{name}** (chosen)" if name == figures.chosen else name
        settings = [f"{row.by_setting[key]:.3f}" if key in row.by_setting else "-" for key in keys]
        phantom = f"{row.by_task['phantom']:.3f}" if "phantom" in row.by_task else "-"
        gains = [points(row.over_simple), points(row.over_equal)]
        body.append([shown, str(row.seeds), _dice(row), *gains, *settings, phantom])
    return _table(["method", "seeds", "mean Dice", "over simple", "over equal", *keys, "phantom"], body)


def _by_task(study: Study, figures: Figures) -> list[str]:
    names = [task.name for task in study.probed if any(task.name in row.by_task for row in figures.rows.values())]
    body = [
        [name, *(f"{row.by_task[t]:.3f}" if t in row.by_task else "-" for t in names)] for name, row in _sorted(figures)
    ]
    return _table(["method", *names], body)


def _retention(figures: Figures) -> list[str]:
    teachers = list(dict.fromkeys(t for row in figures.rows.values() for t in row.retention))
    body = []
    for name, row in _sorted(figures):
        if row.retention:
            cells = [
                f"{row.retention[t]:.3f} / {row.cosine[t]:.3f} / {row.weights[t]:.2f}" if t in row.retention else "-"
                for t in teachers
            ]
            body.append([name, *cells])
    return ["R2 / cosine on validation images / weight at the end.", "", *_table(["method", *teachers], body)]


def _progress(figures: Figures) -> list[str]:
    body = [
        [name, teacher, *(f"{share:.3f}" for share in shares)]
        for name, own in figures.progress.items()
        for teacher, shares in own.items()
    ]
    head = ["method", "teacher", *(f"part {n + 1}" for n in range(PARTS))]
    words = (
        "How far a student has come to each teacher, over how far the student of that teacher alone has come by then:"
        f" loss on the same batches, seed 0, over {PARTS} equal parts of the training. Where the share falls from left"
        " to right, the gap grows while both learn, and a longer training alone would not close it."
    )
    return [words, "", *_table(head, body)]


def _ratios(study: Study, figures: Figures) -> list[str]:
    """What the chosen method keeps of each teacher, and after a long distillation."""
    steps = study.settings.steps
    head = ["teacher", f"R2 over R2, {steps} steps"]
    body = [[teacher, f"{ratio:.3f}"] for teacher, ratio in figures.retention_ratios.items()]
    if figures.longer_ratios:
        head.append(f"{steps * study.settings.long} steps")
        for row in body:
            row.append(f"{figures.longer_ratios[row[0]]:.3f}" if row[0] in figures.longer_ratios else "-")
    return _table(head, body)


def _longer(study: Study, figures: Figures) -> list[str]:
    settings = study.settings
    body = []
    for name, row in sorted(figures.longer.items(), key=lambda pair: _by_dice(pair[1])):
        usual = figures.rows.get(name)
        shown = f"**{name}** (chosen)" if name == figures.chosen else name
        kept = [f"{row.retention[t]:.3f}" if t in row.retention else "-" for t in settings.teachers]
        before = f"{usual.dice.mean:.3f}" if usual else "-"
        body.append([shown, before, _dice(row), points(row.over_simple), points(row.over_equal), *kept])
    words = (
        f"{settings.steps * settings.long} steps, one seed, test images; nothing was chosen by them. Dice after"
        f" {settings.steps} steps is that of {settings.seeds} seeds. The last columns are R2 on validation images."
    )
    head = ["method", f"Dice, {settings.steps} steps", "Dice", "over simple", "over equal", *settings.teachers]
    lines = [words, "", *_table(head, body)]
    if found := _best_single(study, figures.longer, figures.chosen, "test", 1):
        lines += ["", f"{figures.chosen} over the best single teacher there, {found[0]}: {points(found[1])} points."]
    return lines


def _long_json(study: Study, figures: Figures) -> dict[str, Any]:
    """The long distillations, in the words of the whole."""
    chosen = figures.longer.get(figures.chosen or "")
    if chosen is None:
        return {}
    single = _best_single(study, figures.longer, figures.chosen, "test", 1)
    kept = worst(figures.longer_ratios)
    content = {
        "steps": study.settings.steps * study.settings.long,
        "seeds": 1,
        "methods": _methods_json(figures.longer),
        "gain_over_simple": chosen.over_simple.as_json() if chosen.over_simple else None,
        "gain_over_equal": _gain_over_equal(chosen),
        "gain_over_best_single": single[1].as_json() if single else None,
        "worst_teacher_retention_ratio": None if kept is None else round(kept, 5),
    }
    return {"long": content}


def _methods_json(rows: Mapping[str, Row]) -> dict[str, Any]:
    return {
        name: {
            "mean_dice": round(row.dice.mean, 5),
            "ci95": row.dice.as_json()["ci95"],
            "retention": {teacher: round(value, 5) for teacher, value in row.retention.items()},
        }
        for name, row in rows.items()
    }


def _students(figures: Figures) -> list[str]:
    body = [
        [backbone, name, _dice(row), points(row.over_simple)]
        for backbone, own in figures.students.items()
        for name, row in own.items()
    ]
    return _table(["student", "method", "mean Dice", "over simple"], body)


def _screening(study: Study, figures: Figures) -> list[str]:
    targets = list(study.settings.targets)
    methods = list(
        dict.fromkeys(cell.method for cell in grid(study.settings) if cell.targets and cell.method != "simple")
    )
    score = {(cell.method, cell.targets): value for cell, value in figures.screening.items()}
    body = [[m, *(f"{score[m, t]:.4f}" if (m, t) in score else "-" for t in targets)] for m in methods]
    alone = [
        f"{cell.name} {value:.4f}" for cell, value in figures.screening.items() if cell.method in ("scratch", "simple")
    ]
    return [f"Without normalisation of targets: {', '.join(alone) or '-'}.", "", *_table(["method", *targets], body)]


def _images(study: Study) -> list[str]:
    body = []
    for task in study.tasks.values():
        parts = "/".join(str(len(task.indices(part))) for part in ("train", "val", "test"))
        by = f"no task: {task.left_out}" if task.left_out else f"by {task.split_by}"
        body.append([task.name, parts, by, task.licence, "yes" if task.shippable else "no"])
    return _table(["set", "train/val/test", "split", "licence", "shipped student saw its training images"], body)


def _caption(name: str) -> str:
    return name.removesuffix(".png").replace("agglo_study_", "").replace("_", " ")
