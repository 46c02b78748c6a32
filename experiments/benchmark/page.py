"""Generates the benchmark page ``bench.md`` with all tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_agglo.bundle.bench_table import bench_table, number
from monai_agglo.files import atomic_path

__all__ = ["render_page", "write_page"]

Row = dict[str, Any]


def write_page(report: dict[str, Any], plots: Sequence[str], path: Path) -> None:
    """Write the page.

    Args:
        report: content of ``bench.json``.
        plots: file names of plots beside the page.
        path: the file.
    """
    with atomic_path(path) as partial:
        partial.write_text(render_page(report, plots), encoding="utf-8")


def render_page(report: dict[str, Any], plots: Sequence[str] = ()) -> str:
    """The page as Markdown.

    Args:
        report: content of ``bench.json``.
        plots: file names of plots beside the page.
    """
    suites = report["suites"]
    machine, software = report["computer"], report["versions"]
    parts = ["# Benchmark", "Generated from `bench.json`; do not edit."]
    if report["quick"]:
        parts.append("**Quick run with tiny sizes: it shows that everything runs, its figures mean little.**")
    if not report["complete"]:
        parts.append("**Not complete: some suites are missing, or were measured with other weights or libraries.**")
    elif not report["one_code"]:
        parts.append("Some suites were measured with newer code than the others: each says when it began.")
    parts.append(
        f"{machine['processor']}, {machine['cores']} cores, {machine['instructions']}, "
        f"{'with' if machine['vnni'] else 'no'} VNNI, {'with' if machine['bfloat16'] else 'no'} bfloat16 instructions, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}; "
        + ", ".join(f"{name} {number}" for name, number in software.items())
        + "."
    )
    parts += ["## Wanted and measured", bench_table(report)]
    missed = [f"- {row['name']}: {row['bound']}" for row in report["targets"] if row["met"] is False and row["bound"]]
    if missed:
        parts += [
            "What stands in the way where a figure is missed, as far as these measurements tell:",
            "\n".join(missed),
        ]
    for name, (heading, tables) in _SECTIONS.items():
        if name in suites:
            suite = suites[name]
            load = suite["load_average_before"]
            state = f"Began {suite['started']}, took {suite['minutes']:.1f} minutes"
            state += "." if load is None else f"; load average of the computer before it: {load:.1f}."
            own = suite.get("computer", machine)
            state += "" if own == machine else f" On another computer: {own['processor']}, {own['cores']} cores."
            parts += [f"## {heading}", suite["what"], state, *tables(suite)]
            parts += [f"![{heading}]({plot})" for plot in plots if plot.startswith(f"bench_{name}")]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    shown = [
        [number(cell) if isinstance(cell, (int, float)) or cell is None else str(cell) for cell in row] for row in rows
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), ["---"] * len(head), *shown])


def _time(row: Row) -> str:
    """Median and quartiles."""
    if "ms" not in row:
        return "-"
    low, high = row["ms_quartiles"]
    return f"{number(row['ms'])} ({number(low)} to {number(high)}, n={row['repeats']})"


def _reasons(rows: Sequence[Row], name: str) -> list[str]:
    """Reasons of rows without figures."""
    lines = [f"- {row[name]}: {row['reason']}" for row in rows if row.get("reason")]
    return ["Not measured:\n\n" + "\n".join(lines)] if lines else []


def _encoders(suite: Row) -> list[str]:
    parts = []
    roofs = [
        [group, threads, rates.get("gflops"), rates.get("gb_per_s")]
        for group, by_threads in suite["roofs"].items()
        for threads, rates in by_threads.items()
    ]
    parts.append(_table(["roofs in the group", "threads", "1e9 operations/s", "1e9 bytes/s"], roofs))
    rows = sorted(
        (row for row in suite["rows"] if "ms" in row), key=lambda r: (r["runtime"], -r["threads"], r["size"], r["ms"])
    )
    parts.append(
        _table(
            ["encoder", "runtime", "threads", "px", "weights", "1e6 parameters", "1e9 MACs", "ms per image", "images/s",
             "roof (ms)", "of the roof", "layer by layer (ms)", "peak MB"],
            [
                [("**" + row["model"] + "**") if row["ours"] else row["model"], row["runtime"],
                 f"{row['threads']}{' apart' if row['form'] == 'apart' else ''}", str(row["size"]),
                 row.get("weights", "-"), row.get("parameters", 0) / 1e6, row.get("gmacs"), _time(row), row["per_s"],
                 row.get("roof_ms"),
                 f"{100 * row['roof_fraction']:.0f} %" if "roof_fraction" in row else "-", row.get("layer_roof_ms"),
                 row["peak_mb"]]
                for row in rows
            ],
        )
    )  # fmt: skip
    names = [name for name in ("litemedsam", "mobilesam", "medsam", "medsam2", "rad_dino")
             if any(name in row for row in suite["ratios"])]  # fmt: skip
    parts.append("How many times as many images a second ours gives, at 512 px, as the others at their own input size:")
    parts.append(
        _table(["runtime", "threads", "ours (ms)", *names],
               [[r["runtime"], str(r["threads"]), r["ours_ms"], *map(r.get, names)] for r in suite["ratios"]])
    )  # fmt: skip
    return parts + _reasons(suite["rows"], "model")


def _segmenters(suite: Row) -> list[str]:
    rows = sorted((row for row in suite["rows"] if "ms" in row), key=lambda row: (-row["threads"], row["ms"]))
    table = _table(
        ["segmenter", "threads", "weights", "1e6 parameters", "1e9 MACs", "ms per frame", "frames/s", "peak MB"],
        [
            [("**" + row["name"] + "**") if row["ours"] else row["name"], str(row["threads"]), row["weights"],
             row["parameters"] / 1e6 if "parameters" in row else None, row.get("gmacs_per_frame"), _time(row),
             row["per_s"], row["peak_mb"]]
            for row in rows
        ],
    )  # fmt: skip
    notes = [f"- {row['name']}: {row['is']}" for row in rows if "is" in row]
    boxes = [f"- {row['name']}: {row['boxes']} boxes, from the true masks" for row in rows if "boxes" in row]
    return [table, "\n".join([*notes, *boxes]), *_reasons(suite["rows"], "name")]


def _precision(suite: Row) -> list[str]:
    rows = [
        [row["runtime"], row["precision"], f"{row['dice']:.4f}" if "dice" in row else "-", row.get("dice_loss_points"),
         row.get("changed_pixels_pct")]
        for row in suite["rows"]
    ]  # fmt: skip
    table = _table(["runtime", "precision", "mean Dice", "points lost", "changed pixels (%)"], rows)
    origin = (
        f"{suite['patients']} patients from seed {suite['seed']}, {suite['frames_each']} frames of {suite['size']} px."
    )
    return [table, origin, *_reasons(suite["rows"], "runtime")]


def _reading(suite: Row) -> list[str]:
    rows = [
        [row["syntax"], row["file_bytes"] / suite["frames"] / 1e3, row["raw_bytes"] / row["file_bytes"], _time(row),
         row["per_s"]]
        for row in suite["rows"] if "ms" in row
    ]  # fmt: skip
    head = ["transfer syntax", "kB per frame", "compression", "ms per frame", "frames/s"]
    return [f"{suite['frames']} frames of {suite['size']} px.", _table(head, rows), *_reasons(suite["rows"], "syntax")]


def _end_to_end(suite: Row) -> list[str]:
    settings: dict[str, dict[str, Row]] = {}
    for row in suite["settings"]:
        settings.setdefault(row["setting"], {})[row["case"]] = row
    rows = []
    for setting, cases in settings.items():
        whole = next((row for case, row in cases.items() if case != "network" and "ms" in row), None)
        network = cases.get("network", {})
        if whole is not None:
            ratio = whole["per_s"] / network["per_s"] if "per_s" in network else None
            rows.append([setting, _time(whole), whole["per_s"], network.get("per_s"), ratio, whole["peak_mb"]])
    parts = [f"{suite['frames']} frames of {suite['size']} px, {suite['threads']} threads, a JPEG file:"]
    parts.append(
        _table(["setting", "ms per frame to masks", "frames/s", "network (frames/s)", "ratio", "peak MB"], rows)
    )
    head = ["transfer syntax", "ms per frame to masks", "frames/s", "processor ms per frame"]
    measured = [row for row in suite["syntaxes"] if "ms" in row]
    parts.append(_table(head, [[row["syntax"], _time(row), row["per_s"], row["cpu_ms"]] for row in measured]))
    head = ["stage", "ms per frame", "frames/s", "processor ms per frame"]
    measured = [row for row in suite["stages"] if "ms" in row]
    parts.append(_table(head, [[row["stage"], _time(row), row["per_s"], row["cpu_ms"]] for row in measured]))
    failed = [row | {"name": f"{row['setting']} {row.get('syntax', row.get('stage', row.get('case', '')))}"}
              for part in ("settings", "syntaxes", "stages") for row in suite[part]]  # fmt: skip
    return parts + _reasons(failed, "name")


def _growth(suite: Row) -> list[str]:
    parts = []
    for part, title in (("frames", "frames"), ("sizes", "px a side"), ("workers", "processes")):
        key = part if part == "frames" else part[:-1] if part == "sizes" else part
        rows = [row for row in suite[part] if "ms" in row]
        shown = [[f"{row[key]:,}", _time(row), row["per_s"], row["cpu_ms"], row["peak_mb"]] for row in rows]
        parts.append(_table([title, "ms per frame", "frames/s", "processor ms per frame", "peak MB"], shown))
        parts += _reasons(suite[part], key)
    return parts


def _training(suite: Row) -> list[str]:
    rows = [
        [row["bundle"], str(row["batch"]), row["steps_per_s"], row["step_ms"], row["load_ms"], row["pure_ms"],
         row["loader_ratio"], row["pure_ratio"], row["peak_mb"]]
        for row in suite["rows"] if "step_ms" in row
    ]  # fmt: skip
    head = [
        "training",
        "batch",
        "steps/s",
        "step (ms)",
        "load (ms)",
        "pure (ms)",
        "loader's ratio",
        "pure share",
        "peak MB",
    ]
    rates = [[rate["name"], rate["per_s"], rate["unit"]] for rate in suite["rates"] if "per_s" in rate]
    parts = [_table(head, rows), _table(["rate", "per s", "of"], rates)]
    return parts + _reasons(suite["rows"], "bundle") + _reasons(suite["rates"], "name")


def _start_up(suite: Row) -> list[str]:
    head = ["task", "code", "processor time (s)", "wall time (s)", "peak MB", "repeats"]
    columns = ("task", "code", "cpu_s", "wall_s", "peak_mb")
    return [_table(head, [[*(row[name] for name in columns), str(row["repeats"])] for row in suite["rows"]])]


_SECTIONS = {
    "start_up": ("Start-up", _start_up),
    "encoders": ("Encoders", _encoders),
    "segmenters": ("Segmenters", _segmenters),
    "precision": ("Precision", _precision),
    "reading": ("Reading DICOM", _reading),
    "end_to_end": ("End to end", _end_to_end),
    "growth": ("Growth", _growth),
    "training": ("Training", _training),
}
