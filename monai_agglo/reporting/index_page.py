"""Index page of a result folder, one card per cine."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from monai_agglo.files import atomic_path
from monai_agglo.outputs import RECORD, SUMMARY

from .page import asset, fill, policy
from .verdict import verdict_of

__all__ = ["INDEX", "write_index"]

INDEX = "index.html"
PAGE, MEASURES = "report.html", "measurements.json"


def write_index(folder: str | os.PathLike) -> Path:
    """Write ``index.html`` for a folder with several results.

    Args:
        folder: result folder of ``predict`` or ``report`` with ``summary.json``.

    Returns:
        The path of the page.

    Raises:
        ValueError: the folder has no readable summary.
    """
    folder = Path(folder)
    summary = _read(folder / SUMMARY)
    if summary is None:
        raise ValueError(f"{folder}: contains no readable {SUMMARY}")
    cases = [_case(folder, case) for case in summary["cases"]]
    style = "\n" + asset("index.css")
    failed = sum(bool(case["error"]) for case in summary["cases"])
    swallows = sum(_is_swallow(folder, case) for case in summary["cases"])
    counts = f"{len(cases)} cines, {swallows} of them lateral swallow studies"
    counts += f", {failed} failed" if failed else ""
    text = fill(
        asset("index.html"),
        {
            "policy": policy(style),
            "style": style,
            "counts": html.escape(counts),
            "rows": "\n".join(cases),
        },
    )
    path = folder / INDEX
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _is_swallow(folder: Path, case: dict[str, Any]) -> bool:
    here = folder / case["folder"] if case["folder"] else None
    record = _read(here / RECORD) if here else None
    return here is not None and record is not None and _verdict(here, record)["kind"] == "lateral"


def _verdict(folder: Path, record: dict[str, Any]) -> dict[str, str]:
    """Verdict of the report if there is one (it includes the user's view), otherwise of the record."""
    content = _read(folder / MEASURES) if (folder / PAGE).is_file() else None
    return (content or {}).get("verdict") or verdict_of(record)


def _case(folder: Path, case: dict[str, Any]) -> str:
    """Card of one cine."""
    name = html.escape(str(case["pseudonym"]))
    here = folder / case["folder"] if case["folder"] else None
    record = _read(here / RECORD) if here else None
    if here is None or record is None:
        text = html.escape(str(case["error"] or f"its folder contains no {RECORD}"))
        return f'<li class="card"><div class="none">!</div><div><h2>{name}</h2><p class="bad">{text}</p></div></li>'
    base = quote(str(case["folder"]))
    page = PAGE if (here / PAGE).is_file() else "overlay.mp4"
    content = _read(here / MEASURES) if page == PAGE else None
    verdict = _verdict(here, record)
    facts = [_facts(record)]
    if content is not None and verdict["kind"] == "lateral":
        facts.append(_found(content))
    warnings = "".join(f"<li>{html.escape(str(text))}</li>" for text in record.get("warnings", [])[:4])
    links = [("overlay.mp4", "overlay video"), ("contact_sheet.png", "contact sheet"), ("measurements.csv", "table")]
    others = " · ".join(
        f'<a href="{base}/{file}">{text}</a>' for file, text in links if (here / file).is_file() and file != page
    )
    kind = "good" if verdict["kind"] == "lateral" else "bad"
    return (
        f'<li class="card"><a class="thumb" href="{base}/{page}" tabindex="-1">{_thumb(here)}</a><div>'
        f'<h2><a href="{base}/{page}">{name}</a></h2><p class="{kind}">{html.escape(str(verdict["headline"]))}</p>'
        + "".join(f"<p>{html.escape(fact)}</p>" for fact in facts)
        + (f"<ul>{warnings}</ul>" if warnings else "")
        + f'<p class="links">{others}</p></div></li>'
    )


def _thumb(folder: Path) -> str:
    """Thumbnail of the contact sheet as an embedded image."""
    try:
        with Image.open(folder / "contact_sheet.png") as sheet:
            small = sheet.convert("RGB")
    except (OSError, ValueError):
        return ""
    small.thumbnail((480, 480))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=70)
    return f'<img src="data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode("ascii")}" alt="">'


def _facts(record: dict[str, Any]) -> str:
    source, frames = record["source"], record["frames"]
    rate = frames.get("effective_fps")
    return (
        f"{source.get('modality') or source.get('source_format') or 'cine'}, {frames['count']} "
        f"frame{'s' * (frames['count'] != 1)} of {source['columns']} x {source['rows']} pixels"
        + (f", {rate:.3g} per second" if rate else "")
    )


def _found(measures: dict[str, Any]) -> str:
    count = len(measures.get("swallows") or [])
    text = f"{count} swallow{'s' * (count != 1)}" if count else "no swallow detected"
    flagged = len((measures.get("airway") or {}).get("flagged_frames") or [])
    return text + (f"; {flagged} frames flagged: bolus over the airway" if flagged else "; no frame flagged")
