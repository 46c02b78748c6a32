"""Plots of the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_agglo.files import atomic_path

__all__ = ["draw_plots"]

OURS, OTHER, THIRD, GREY = "#ee6677", "#4477aa", "#228833", "#888888"
Suite = dict[str, Any]


def draw_plots(report: dict[str, Any], folder: Path) -> list[str]:
    """Draw the plots of the available figures.

    Args:
        report: content of ``bench.json``.
        folder: output folder.

    Returns:
        Names of the files written.
    """
    from matplotlib.figure import Figure

    makers: dict[str, Callable[[Any, Suite], bool]] = {
        "encoders": _encoders, "segmenters": _segmenters, "end_to_end": _end_to_end, "growth": _growth,
    }  # fmt: skip
    drawn = []
    for name, make in makers.items():
        figure = Figure(layout="constrained")  # no window system, and no state that is left behind
        if name in report["suites"] and make(figure, report["suites"][name]):
            file = f"bench_{name}.png"
            if report["quick"]:
                figure.text(0.99, 0.01, "quick run: figures mean little", ha="right", fontsize=8, color=GREY)
            with atomic_path(folder / file) as partial:
                figure.savefig(partial, dpi=110, format="png")
            drawn.append(file)
    return drawn


def _bars(axes: Any, rows: list[dict[str, Any]], labels: list[str], key: str, best: bool, log: bool = True) -> list:
    """Horizontal bars, best on top, ours highlighted; returns the rows from the bottom up."""
    order = sorted(range(len(rows)), key=lambda i: rows[i][key], reverse=not best)
    for place, index in enumerate(order):
        row = rows[index]
        axes.barh(place, row[key], color=OURS if row["ours"] else OTHER, height=0.7)
        axes.annotate(f" {_short(row[key])}", (row[key], place), va="center", fontsize=7)
    axes.set_yticks(range(len(order)), [labels[index] for index in order], fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    values = [row[key] for row in rows]
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        least = min(min(row.get(name, row[key]) for name in (key, "roof_ms")) for row in rows)
        axes.set_xlim(least / 2, max(values) * 2.5)  # room for the numbers
    else:
        axes.set_xlim(0, max(values) * 1.15)
    return [rows[index] for index in order]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _encoders(figure: Any, suite: Suite) -> bool:
    """Time per image at two threads in PyTorch with the roof, and how many times faster ours is by runtime."""
    rows = [row for row in suite["rows"] if "ms" in row and row["runtime"] == "pytorch"]
    if not rows:
        return False
    most = max(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == most]
    figure.set_size_inches(10, 1.6 + 0.24 * len(rows))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    labels = [f"{row['model']}, {row['size']} px" for row in rows]
    order = _bars(left, rows, labels, "ms", False)
    roofs = [(row["roof_ms"], place) for place, row in enumerate(order) if "roof_ms" in row]
    if roofs:
        left.plot(
            *zip(*roofs), "|", color="black", ms=9, mew=1.6, label="least possible at this computer's measured rates"
        )
        left.legend(fontsize=7, loc="upper right")
    left.set_xlabel("ms per image (log)", fontsize=8)
    left.set_title(f"Encoders, PyTorch eager, float32, {most} threads (ours in red)", fontsize=9)
    names = [name for name in ("litemedsam", "mobilesam", "medsam", "medsam2", "rad_dino")
             if any(name in row for row in suite["ratios"])]  # fmt: skip
    groups = [row for row in suite["ratios"] if row["threads"] == most]
    for place, row in enumerate(groups):
        heights = [row.get(name, 0) for name in names]
        at = [n + 0.8 * (place + 0.5) / len(groups) - 0.4 for n in range(len(names))]
        right.bar(at, heights, 0.75 / len(groups), label=row["runtime"], color=(OURS, OTHER, THIRD)[place % 3])
        for x, height in zip(at, heights):
            if height:
                right.annotate(f"{height:.0f}", (x, height), ha="center", va="bottom", fontsize=7)
    right.set_xticks(range(len(names)), names, fontsize=7)
    if names:
        right.set_yscale("log")
        right.set_ylim(1, right.get_ylim()[1] * 2)
        right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.tick_params(axis="y", labelsize=7)
        right.legend(fontsize=7, loc="upper left")
    right.set_title("times as many images/s: ours at 512 px,\ntheirs at their own size", fontsize=9)
    return True


def _segmenters(figure: Any, suite: Suite) -> bool:
    """Frames per second and memory."""
    rows = [row for row in suite["rows"] if "ms" in row]
    if not rows:
        return False
    most = max(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == most]
    figure.set_size_inches(10, 1.4 + 0.27 * len(rows))
    left, right = figure.subplots(1, 2, sharey=False)
    labels = [row["name"] for row in rows]
    _bars(left, rows, labels, "per_s", True)
    left.set_xlabel("frames/s (log)", fontsize=8)
    left.set_title(f"Frames to masks, {suite['size']} px, {most} threads", fontsize=9)
    known = [row for row in rows if row["peak_mb"]]
    if known:
        _bars(right, known, [row["name"] for row in known], "peak_mb", False, log=False)
    right.set_xlabel("peak memory of the process, MB", fontsize=8)
    right.set_title("Memory (ours in red)", fontsize=9)
    return True


def _end_to_end(figure: Any, suite: Suite) -> bool:
    """Frames per second by transfer syntax, and the stages."""
    syntaxes = [row for row in suite["syntaxes"] if "ms" in row]
    stages = [row for row in suite["stages"] if "ms" in row]
    if not syntaxes and not stages:
        return False
    figure.set_size_inches(10, 3.4)
    left, right = figure.subplots(1, 2)
    for place, row in enumerate(syntaxes[::-1]):
        left.barh(place, row["per_s"], color=OURS, height=0.7)
        left.annotate(f" {row['per_s']:.1f}", (row["per_s"], place), va="center", fontsize=7)
    left.set_yticks(range(len(syntaxes)), [row["syntax"] for row in syntaxes[::-1]], fontsize=7)
    left.set_xlabel("frames/s, DICOM file to masks", fontsize=8)
    where = f"{syntaxes[0]['setting']}, " if syntaxes else ""
    left.set_title(f"By transfer syntax ({where}{suite['threads']} threads)", fontsize=9)
    times = {row["stage"]: row["ms"] for row in stages}
    parts = [("decode", times.get("decode")), ("network to masks", _more(times, "masks", "decode")),
             ("overlay, sheet, NIfTI", _more(times, "predict", "masks")),
             ("SEG", _more(times, "predict and SEG", "predict")), ("report", times.get("report"))]  # fmt: skip
    right.set_yticks(range(len(parts)), [name for name, _ in parts[::-1]], fontsize=7)
    for place, (_, length) in enumerate(parts[::-1]):
        if length is not None:
            right.barh(place, length, color=OTHER, height=0.7)
            right.annotate(f" {length:.1f}", (length, place), va="center", fontsize=7)
    for axes in (left, right):
        axes.set_xlim(0, 1.12 * axes.get_xlim()[1])  # room for the numbers
        axes.tick_params(axis="x", labelsize=7)
    right.set_xlabel("ms per frame", fontsize=8)
    right.set_title("Price of each stage on the clock (stages overlap)", fontsize=9)
    return True


def _more(times: dict[str, float], longer: str, shorter: str) -> float | None:
    """Additional time of a run over a shorter one; 0 for overlapping stages."""
    return max(0.0, times[longer] - times[shorter]) if longer in times and shorter in times else None


def _growth(figure: Any, suite: Suite) -> bool:
    """Time and memory by frames, time by size, rate by processes."""
    frames = [row for row in suite["frames"] if "ms" in row]
    sizes = [row for row in suite["sizes"] if "ms" in row]
    workers = [row for row in suite["workers"] if "ms" in row]
    if not frames:
        return False
    figure.set_size_inches(12, 3.2)
    one, two, three, four = figure.subplots(1, 4)
    counts = [row["frames"] for row in frames]
    one.loglog(counts, [row["ms"] * row["frames"] / 1000 for row in frames], "o-", color=OURS)
    one.plot(counts, [frames[-1]["ms"] * count / 1000 for count in counts], ":", color=GREY, label="proportional")
    one.set_ylabel("s", fontsize=8)
    one.set_title("predict: time", fontsize=9)
    one.legend(fontsize=7)
    peaks = [(row["frames"], row["peak_mb"]) for row in frames if row["peak_mb"]]
    if peaks:
        two.semilogx(*zip(*peaks), "o-", color=OURS)
        two.set_ylim(0, 1.25 * max(peak for _, peak in peaks))
    two.set_ylabel("MB", fontsize=8)
    two.set_title("predict: peak memory", fontsize=9)
    for axes in (one, two):
        axes.set_xlabel("frames", fontsize=8)
    three.plot([row["size"] for row in sizes], [row["ms"] for row in sizes], "o-", color=OURS)
    three.set_ylim(bottom=0)
    three.set_xlabel("px a side of the file", fontsize=8)
    three.set_ylabel("ms per frame", fontsize=8)
    three.set_title("to masks, by size", fontsize=9)
    four.bar([str(row["workers"]) for row in workers], [row["per_s"] for row in workers], 0.5, color=OURS)
    four.set_xlabel("processes of one thread", fontsize=8)
    four.set_ylabel("frames/s of all", fontsize=8)
    four.set_title("to masks, by workers", fontsize=9)
    for axes in (one, two, three, four):
        axes.tick_params(labelsize=7)
    return True
