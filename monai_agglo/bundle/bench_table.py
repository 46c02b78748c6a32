"""The benchmark's headline figures: a few rows for the README, and all targets for docs/reference/targets.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["bench_table", "number", "read_bench", "speed_rows"]


def read_bench(root: Path) -> dict[str, Any] | None:
    """Benchmark figures of a clone.

    Args:
        root: the clone's folder.

    Returns:
        Content of ``docs/results/bench.json``; None if the benchmark has not been run.

    Raises:
        ValueError: for figures of a quick run.
    """
    path = root / "docs" / "results" / "bench.json"
    if not path.is_file():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    if report["quick"]:
        raise ValueError(
            f"{path} holds figures of a quick run, which are not published; run the benchmark without --quick"
        )
    return report


def bench_table(report: dict[str, Any]) -> str:
    """Table of measured figures and targets, with their origin.

    Args:
        report: content of ``bench.json``.

    Returns:
        Markdown text without a final newline.
    """
    lines = ["| | measured | wanted | |", "|---|---|---|---|"]
    for row in report["targets"]:
        wanted = f"{'at least' if row['sense'] == '>=' else 'at most'} {row['target']:,g}"
        state = {True: "met", False: "missed", None: "not measured" if row["measured"] is None else "-"}[row["met"]]
        lines.append(f"| {row['name']} ({row['unit']}) | {number(row['measured'])} | {wanted} | {state} |")
    machine = report["computer"]
    sizes = "tiny sizes" if report["quick"] else "512 px"
    origin = (
        f"Measured on {machine['cores']} cores of {machine['processor']} ({machine['instructions']}), {sizes}, default "
        f"`vfss_seg`, {report['data']}. Encoders: {report['encoder_ratio_is'] or 'not measured'}."
    )
    elsewhere = {
        name: suite["computer"]
        for name, suite in report.get("suites", {}).items()
        if suite.get("computer", machine) != machine
    }
    for name, own in elsewhere.items():
        origin += f" Suite `{name}`: {own['cores']} cores of {own['processor']} ({own['instructions']})."
    lines += ["", origin, "", f"Measured by `{report['command']}`."]
    return "\n".join(lines)


def speed_rows(report: dict[str, Any]) -> list[str]:
    """Rows of the README's table: speed and memory of the segmenter, and its encoder beside others.

    Args:
        report: content of ``bench.json``.

    Returns:
        Lines of a Markdown table with two columns; figures that were not measured are left out.
    """
    machine = report["computer"]
    cpu = f"{machine['cores']} cores of {machine['processor']}"
    rows = [
        (f"DICOM file to masks, {cpu}", report["end_to_end_fps"].get("fp32"), "frames/s"),
        ("peak memory, cine of 3,000 frames", report["peak_mb"].get("3000"), "MB"),
    ]
    names = {"litemedsam": "LiteMedSAM", "mobilesam": "MobileSAM", "medsam": "MedSAM"}
    for key, ratio in report["encoder_ratio"].items():
        rows.append((f"encoder speed relative to {names.get(key, key)}'s image encoder", ratio, "times"))
    return [f"| {title} | {number(value)} {unit} |" for title, value, unit in rows if value is not None]


def number(value: float | None) -> str:
    """Three significant digits, no exponent; a dash for None.

    Args:
        value: a figure, or None.
    """
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
