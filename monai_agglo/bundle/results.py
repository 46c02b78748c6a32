"""Publish the evaluation report ``docs/results/<bundle>.json`` in metadata and README tables.

The bundle's ``eval_metrics`` and the tables between markers in the README files are generated from the report.
:func:`publish` with ``check=True`` only compares, for the tests.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monai_agglo.swallow import STRUCTURES

from .bench_table import bench_table, read_bench, speed_rows

__all__ = ["begin_mark", "end_mark", "publish", "summary", "table"]

KEYS = ("data", "seed", "patients", "mean_dice", "dice_is", "per_structure", "command")


def publish(root: str | os.PathLike[str], bundle: str = "vfss_seg", check: bool = False) -> list[Path]:
    """Write the results of a bundle, and of the benchmark if present, into metadata and README tables.

    Args:
        root: folder of the clone, with the report ``docs/results/<bundle>.json``.
        bundle: the bundle's name.
        check: only compare.

    Returns:
        Files that differ from the report (rewritten without ``check``).

    Raises:
        FileNotFoundError: if the report or a file to write is missing.
        ValueError: if the report lacks a key or a README lacks its markers.
    """
    root = Path(root)
    source = root / "docs" / "results" / f"{bundle}.json"
    report = _read_report(source)
    wanted: dict[Path, str] = {}
    metadata = root / "bundles" / bundle / "configs" / "metadata.json"
    content = json.loads(metadata.read_text(encoding="utf-8"))
    if content.get("eval_metrics") != eval_metrics(report):  # compare values, not formatting
        content["eval_metrics"] = eval_metrics(report)
        wanted[metadata] = json.dumps(content, indent=4, ensure_ascii=False) + "\n"
    bench = read_bench(root)
    blocks = [
        (root / "README.md", "summary", summary(report, bench)),
        (root / "bundles" / bundle / "docs" / "README.md", bundle, table(report)),
    ]
    if bench is not None:
        blocks.append((root / "docs" / "reference" / "targets.md", "bench", bench_table(bench)))
    for page, name, block in blocks:
        text = page.read_text(encoding="utf-8") if page.is_file() else None
        new = _replace_block(page, wanted.get(page, text), name, block)
        if new != text:
            wanted[page] = new
    if not check:
        for path, text in wanted.items():
            part = path.with_name(path.name + ".part")
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
    return list(wanted)


def eval_metrics(report: dict[str, Any]) -> dict[str, Any]:
    """The report in the form of the metadata.

    Args:
        report: the evaluation's report.

    Returns:
        ``mean_dice``, ``dice_<structure>`` for each, ``false_positive_area_pct``, and the evaluated data.
    """
    metrics: dict[str, Any] = {"mean_dice": report["mean_dice"]}
    metrics.update({f"dice_{name}": row["dice"] for name, row in report["per_structure"].items()})
    metrics["false_positive_area_pct"] = report.get("false_positive_area_pct")
    metrics.update({key: report.get(key) for key in ("data", "patients", "seed", "dice_is", "weights_sha256")})
    return metrics


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown table with its origin.

    Args:
        report: the evaluation's report; Dice as fractions, HD95 in pixels, false-positive area in % of the frame.

    Returns:
        Markdown text without a final newline.
    """
    titles = {structure.name: structure.title for structure in STRUCTURES}
    false = "false_positive_area_pct"
    lines = ["| structure | Dice | HD95 (px) | frames present | false-positive area (% of frame) |"]
    lines.append("|---|---|---|---|---|")
    for name, row in report["per_structure"].items():
        figures = (
            f"{_number(row['dice'], 3)} | {_number(row['hd95_px'], 1)} | {row['frames']} | {_number(row.get(false), 3)}"
        )
        lines.append(f"| {titles[name]} | {figures} |")
    ends = report.get("mean_dice_ci95")
    between = f" ({_number(ends[0], 3)} to {_number(ends[1], 3)})" if ends else ""
    lines.append(
        f"| **mean** | **{_number(report['mean_dice'], 3)}**{between} | | | **{_number(report.get(false), 3)}** |"
    )
    seed = "" if report["seed"] is None else f", seed {report['seed']}"
    origin = f"Data: {report['data']}, {report['patients']} patients{seed}. Dice: {report['dice_is']}."
    if ends:
        origin += " In brackets its 95 % interval: bootstrap over patients."
    return "\n".join([*lines, "", origin, "", f"Measured by `{report['command']}`."])


def summary(report: dict[str, Any], bench: dict[str, Any] | None) -> str:
    """The few figures of the README: accuracy on phantoms, speed, and speed beside other encoders.

    Args:
        report: the evaluation's report.
        bench: content of ``bench.json``; None leaves the speed out.

    Returns:
        Markdown text without a final newline.
    """
    titles = {structure.name: structure.title for structure in STRUCTURES}
    scored = {name: row["dice"] for name, row in report["per_structure"].items() if row["dice"] is not None}
    ends = report.get("mean_dice_ci95")
    interval = f" (95 % CI {_number(ends[0], 3)} to {_number(ends[1], 3)})" if ends else ""
    mean = f"mean Dice of {len(report['per_structure'])} structures, {report['patients']} held-out synthetic patients"
    lines = ["| | |", "|---|---|", f"| {mean} | **{_number(report['mean_dice'], 3)}**{interval} |"]
    ranked = sorted(scored, key=scored.__getitem__)
    for word, name in (("highest", ranked[-1]), ("lowest", ranked[0])):
        lines.append(f"| {word}: {titles[name]} | {_number(scored[name], 3)} |")
    if bench is not None:
        lines += speed_rows(bench)
    return "\n".join(lines)


def begin_mark(bundle: str) -> str:
    """Marker line before the table in a README."""
    return f"<!-- results:{bundle} (written by `python -m monai_agglo results`) -->"


def end_mark(bundle: str) -> str:
    """Marker line after the table in a README."""
    return f"<!-- end results:{bundle} -->"


def _number(value: float | None, digits: int) -> str:
    """A formatted figure; a dash for None."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _read_report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: run the evaluation first, see docs/how-to/train.md")
    report = json.loads(path.read_text(encoding="utf-8"))
    missing = [key for key in KEYS if key not in report]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; run the evaluation again")
    return report


def _replace_block(path: Path, text: str | None, bundle: str, block: str) -> str:
    """Replace the lines between the markers of a README."""
    if text is None:
        raise FileNotFoundError(f"no {path} to write the results into")
    before, begin, rest = text.partition(begin_mark(bundle))
    _, end, after = rest.partition(end_mark(bundle))
    if not begin or not end:
        raise ValueError(f"{path} lacks the lines {begin_mark(bundle)!r} and {end_mark(bundle)!r} around its table")
    return f"{before}{begin}\n{block}\n{end}{after}"
