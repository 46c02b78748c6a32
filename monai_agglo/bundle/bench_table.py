"""Headline figures of the benchmark as the short table of README and docs/speed.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["bench_table", "number", "read_bench"]


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
    lines += ["", origin, "", f"Measured by `{report['command']}`."]
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Three significant digits, no exponent; a dash for None.

    Args:
        value: a figure, or None.
    """
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
