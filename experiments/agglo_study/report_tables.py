"""The tables of the study's report, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .claims import points
from .figures import Figures, Row
from .plan import grid
from .runner import Study
from .scores import worst

__all__ = [
    "dice_of",
    "image_rows",
    "method_rows",
    "over_single",
    "ratio_rows",
    "retention_rows",
    "screening_rows",
    "student_rows",
    "table",
    "task_rows",
]


def _by_dice(row: Row) -> float:
    return -row.dice.mean


def over_single(figures: Figures) -> list[str]:
    """The chosen method's gain over the best single teacher in a sentence, and an empty line; nothing without one."""
    if figures.over_single is None:
        return []
    name, gain = figures.over_single
    return [f"{figures.chosen} over the best single teacher of the screening, {name}: {points(gain)} points.", ""]


def dice_of(row: Row) -> str:
    return f"{row.dice.mean:.3f} [{row.dice.low:.3f}, {row.dice.high:.3f}]"


def _marked(figures: Figures, name: str) -> str:
    return f"**{name}** (chosen)" if name == figures.chosen else name


def _sorted(figures: Figures) -> list[tuple[str, Row]]:
    return sorted(figures.rows.items(), key=lambda pair: _by_dice(pair[1]))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)]


def _least(figures: Figures, row: Row) -> str:
    """What a student of several teachers kept in the screening of the one it kept least of."""
    ratio = worst(figures.screened_ratios.get(row.cell, {}))
    return "-" if ratio is None else f"{ratio:.3f}"


def method_rows(study: Study, figures: Figures) -> list[str]:
    keys = list(dict.fromkeys(key for row in figures.rows.values() for key in row.by_setting))
    body = []
    for name, row in _sorted(figures):
        settings = [f"{row.by_setting[key]:.3f}" if key in row.by_setting else "-" for key in keys]
        phantom = f"{row.by_task['phantom']:.3f}" if "phantom" in row.by_task else "-"
        gains = [points(row.over_simple), points(row.over_equal)]
        body.append(
            [_marked(figures, name), str(row.seeds), dice_of(row), *gains, _least(figures, row), *settings, phantom]
        )
    head = ["method", "seeds", "mean Dice", "over simple", "over equal", "least R2 over R2 (screening)"]
    return table([*head, *keys, "phantom"], body)


def task_rows(study: Study, figures: Figures) -> list[str]:
    names = [task.name for task in study.probed if any(task.name in row.by_task for row in figures.rows.values())]
    body = [
        [name, *(f"{row.by_task[t]:.3f}" if t in row.by_task else "-" for t in names)] for name, row in _sorted(figures)
    ]
    return table(["method", *names], body)


def retention_rows(figures: Figures) -> list[str]:
    teachers = list(dict.fromkeys(t for row in figures.rows.values() for t in row.retention))
    body = []
    for name, row in _sorted(figures):
        if row.retention:
            cells = [
                f"{row.retention[t]:.3f} / {row.cosine[t]:.3f} / {row.weights[t]:.2f}" if t in row.retention else "-"
                for t in teachers
            ]
            body.append([name, *cells])
    return ["R2 / cosine on validation images / weight at the end.", "", *table(["method", *teachers], body)]


def ratio_rows(study: Study, figures: Figures) -> list[str]:
    """What the chosen method keeps of each teacher, in the screening and at the end."""
    settings = study.settings
    both = [figures.screened_ratios.get(figures.rows[figures.chosen or ""].cell, {}), figures.retention_ratios]
    body = [[name, *(f"{own[name]:.3f}" if name in own else "-" for own in both)] for name in settings.teachers]
    head = [f"R2 over R2, {settings.steps} steps, one seed", f"{settings.final_steps} steps, {settings.seeds} seeds"]
    return table(["teacher", *head], body)


def student_rows(figures: Figures) -> list[str]:
    body = [
        [backbone, name, dice_of(row), points(row.over_simple)]
        for backbone, own in figures.students.items()
        for name, row in own.items()
    ]
    return table(["student", "method", "mean Dice", "over simple"], body)


def screening_rows(study: Study, figures: Figures) -> list[str]:
    targets = list(study.settings.targets)
    methods = list(
        dict.fromkeys(cell.method for cell in grid(study.settings) if cell.targets and cell.method != "simple")
    )
    score = {(cell.method, cell.targets): value for cell, value in figures.screening.items()}
    body = [[m, *(f"{score[m, t]:.4f}" if (m, t) in score else "-" for t in targets)] for m in methods]
    alone = [
        f"{cell.name} {value:.4f}" for cell, value in figures.screening.items() if cell.method in ("scratch", "simple")
    ]
    return [f"Without normalisation of targets: {', '.join(alone) or '-'}.", "", *table(["method", *targets], body)]


def image_rows(study: Study) -> list[str]:
    body = []
    for task in study.tasks.values():
        parts = "/".join(str(len(task.indices(part))) for part in ("train", "val", "test"))
        by = f"no task: {task.left_out}" if task.left_out else f"by {task.split_by}"
        body.append([task.name, parts, by, task.licence, "yes" if task.shippable else "no"])
    return table(["set", "train/val/test", "split", "licence", "shipped student saw its training images"], body)
