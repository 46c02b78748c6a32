"""Plots of the study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_agglo.files import atomic_path

from .cells import VARIANTS
from .figures import Figures, Row

__all__ = ["draw_plots"]

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888", "#222222")


def draw_plots(figures: Figures, folder: Path) -> list[str]:
    """Draw what the figures allow.

    Args:
        figures: of the study.
        folder: for the pictures.

    Returns:
        Names of the files written.
    """
    from matplotlib.figure import Figure

    drawn = []
    makers: dict[str, Callable[[Any, Figures], bool]] = {
        "gains": _gains, "shots": _shots, "retention": _retention, "weights": _weights,
    }  # fmt: skip
    for name, make in makers.items():
        figure = Figure(layout="constrained")  # no window system, and no state that is left behind
        if make(figure, figures):
            file = f"agglo_study_{name}.png"
            with atomic_path(folder / file) as partial:
                figure.savefig(partial, dpi=110, format="png")
            drawn.append(file)
    return drawn


def _title(figures: Figures, text: str) -> str:
    where = {"test": "test images", "val": "validation images", "screen": "validation images, screening"}[figures.stage]
    return f"{text} ({where}{'; study not complete' if figures.missing else ''})"


def _ranked(figures: Figures) -> list[tuple[str, Row]]:
    return sorted(figures.rows.items(), key=lambda pair: pair[1].dice.mean)


def _gains(figure: Any, figures: Figures) -> bool:
    """Gain of every method over simple distillation."""
    rows = [(name, row.over_simple) for name, row in _ranked(figures) if row.over_simple is not None]
    if not rows:
        return False
    figure.set_size_inches(7.5, 1.4 + 0.27 * len(rows))
    axes = figure.add_subplot()
    for place, (name, gain) in enumerate(rows):
        colour = COLOURS[1] if name == figures.chosen else COLOURS[0]
        axes.plot([100 * gain.low, 100 * gain.high], [place, place], color=colour, lw=2)
        axes.plot(100 * gain.mean, place, "o", color=colour, ms=5)
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(2, color="black", lw=0.8, ls=":")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(
        "points of mean Dice over simple distillation, 95 % interval (dotted: the paper's 2 points)", fontsize=8
    )
    axes.set_title(_title(figures, "Gain over simple distillation"), fontsize=10)
    return True


def _shots(figure: Any, figures: Figures) -> bool:
    """Dice by the number of training images, frozen and tuned."""
    modes = [
        m for m in ("frozen", "tuned") if any(k.startswith(m) for r in figures.rows.values() for k in r.by_setting)
    ]
    rows = _ranked(figures)[::-1][:8]
    if not modes:
        return False
    figure.set_size_inches(4.2 * len(modes) + 2.4, 4)
    parts = figure.subplots(1, len(modes), squeeze=False)[0]
    for axes, mode in zip(parts, modes):
        keys = list(dict.fromkeys(k for _, r in rows for k in r.by_setting if k.startswith(mode)))
        keys.sort(key=lambda k: (k.endswith("all"), int("0" + "".join(c for c in k if c.isdigit()))))
        for number, (name, row) in enumerate(rows):
            heights = [row.by_setting.get(key, float("nan")) for key in keys]
            style = {"color": COLOURS[number % len(COLOURS)], "marker": "osD^v<>P"[number % 8]}
            axes.plot(range(len(keys)), heights, label=name, lw=1.6, ms=5, **style)
        axes.set_xticks(range(len(keys)), [key.split("-")[1] for key in keys])
        axes.set_title(mode, fontsize=10)
        axes.set_xlabel("training images (means are over the tasks that are large enough)", fontsize=8)
        axes.set_ylabel("mean Dice", fontsize=8)
        axes.grid(alpha=0.3)
    figure.legend(*parts[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.suptitle(_title(figures, "Few-shot segmentation"), fontsize=10)
    return True


def _retention(figure: Any, figures: Figures) -> bool:
    """R2 of every teacher, by method."""
    rows = [(name, row) for name, row in _ranked(figures)[::-1] if row.retention][:24]
    teachers = list(dict.fromkeys(t for _, row in rows for t in row.retention))
    if not rows:
        return False
    figure.set_size_inches(2.4 + 1.9 * len(teachers), 1.4 + 0.27 * len(rows))
    axes = figure.add_subplot()
    values = [[row.retention.get(t, float("nan")) for t in teachers] for _, row in rows]
    axes.imshow(values, aspect="auto", cmap="viridis", vmin=0, vmax=1)
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            shown = "not taught" if value != value else f"{value:.2f}"
            axes.text(x, y, shown, ha="center", va="center", fontsize=8, color="black" if value > 0.6 else
                      ("#999999" if value != value else "white"))  # fmt: skip
    axes.set_xticks(range(len(teachers)), teachers, fontsize=8)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.set_title("R2 of each teacher's features on held-out images", fontsize=10)
    return True


def _weights(figure: Any, figures: Figures) -> bool:
    """Weights while distilling, for the ways of balancing that change them."""
    changing = ("mlp", "attention", "mlp_stable", "attention_stable", *VARIANTS)
    shown = {cell: result for cell, result in figures.traces.items() if cell.method in changing}
    if not shown:
        return False
    methods = list(dict.fromkeys(cell.method for cell in shown))
    targets = list(dict.fromkeys(cell.targets for cell in shown))
    figure.set_size_inches(2.6 * len(methods) + 0.6, 1.9 * len(targets) + 0.9)
    parts = figure.subplots(len(targets), len(methods), squeeze=False, sharex=True, sharey=True)
    for cell, result in shown.items():
        axes = parts[targets.index(cell.targets)][methods.index(cell.method)]
        steps = [point["step"] for point in result["trace"]]
        for place, teacher in enumerate(result["teachers"]):
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(steps, [p["weights"][place] for p in result["trace"]], label=teacher, color=colour, lw=1.5)
        axes.set_title(f"{cell.method}, {cell.targets}", fontsize=8)
        axes.set_ylim(-0.03, 1.03)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=7)
    for column in parts.T:
        drawn = [axes for axes in column if axes.lines]
        drawn[-1].tick_params(labelbottom=True)
        for axes in column:
            axes.set_visible(axes in drawn)
    axes = next(axes for row in parts for axes in row if axes.lines)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    figure.suptitle("Weight of each teacher by step", fontsize=10)
    return True
