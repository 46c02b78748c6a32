"""Suite: reading a DICOM cine of each transfer syntax."""

from __future__ import annotations

from functools import partial
from typing import Any

from .context import Context
from .files import SYNTAXES, phantom_frames, write_dicom
from .interleave import Candidate, measure_interleaved
from .worker import Case

__all__ = ["WHAT", "make_reading", "reading"]

WHAT = (
    "Opening a DICOM cine and decoding every frame, one after the other, as segmenting does; 8 bits, one thread. "
    "All transfer syntaxes in turns. The file lies in the system's cache."
)


def reading(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``rows`` by transfer syntax.
    """
    size, count = context.pick((512, 64), (64, 4))
    frames, _ = phantom_frames(context.work, min(count, 32), size)
    paths = {}
    for syntax in SYNTAXES:
        name = syntax.replace(" ", "_").lower()
        paths[syntax] = str(write_dicom(context.work / f"read_{name}_{size}_{count}.dcm", frames, syntax, count))
    make = f"{__name__}:{make_reading.__name__}"
    candidate = Candidate("reading", make, {"paths": paths, "frames": count}, 1, context.pick(9, 2))
    rows = measure_interleaved([candidate], context.share(1.0), context.log)
    raw = size * size * count
    return {
        "what": WHAT, "size": size, "frames": count,
        "rows": [{"syntax": row.case} | row.summary() | {"raw_bytes": raw} for row in rows],
    }  # fmt: skip


def make_reading(paths: dict[str, str], frames: int) -> dict[str, Case]:
    """A case per file.

    Args:
        paths: files by transfer syntax.
        frames: number of frames in each.

    Returns:
        The cases.
    """
    from pathlib import Path

    from monai_agglo.cine.cine import open_cine

    def read(path: str) -> None:
        for _ in open_cine(path).frames():
            pass

    return {
        syntax: Case(partial(read, path), frames, 1, {"file_bytes": Path(path).stat().st_size})
        for syntax, path in paths.items()
    }
