"""A reader's corrections exported from the report page: events, consistency and volume of each swallow."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_agglo.swallow import EVENTS, CineMeasures

__all__ = ["ORDER", "Corrections", "SwallowCorrection", "check_order", "read_corrections"]

KIND, VERSION = "monai_agglo.corrections", 1
LARGEST = 1 << 20
"""Size limit of a corrections file, bytes; it usually has a few hundred."""
ORDER = (
    ("oral", "bpm"),
    ("ueso", "uesc"),
    ("ueso", "ues_max"),
    ("ues_max", "uesc"),
    ("lvc", "lvco"),
    ("bpm", "uesc"),
    ("uesc", "rest"),
)
"""Pairs of events in temporal order; they may coincide."""
STRICT = {("ueso", "uesc"), ("lvc", "lvco")}
"""Pairs of events that cannot coincide: an opening or closure lasts at least one frame."""


@dataclass(frozen=True)
class SwallowCorrection:
    """Corrections of one swallow.

    Args:
        events: 0-based frame by event name, None to remove the event; other events are kept.
        iddsi: consistency, IDDSI level 0 to 7; None if unknown.
        volume_ml: bolus volume in millilitres; None if unknown.
    """

    events: dict[str, int | None] = field(default_factory=dict)
    iddsi: int | None = None
    volume_ml: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON content of the file."""
        return {"iddsi": self.iddsi, "volume_ml": self.volume_ml, "events_frame_index": dict(self.events)}


@dataclass(frozen=True)
class Corrections:
    """Corrections of a cine.

    Args:
        pseudonym: pseudonym of the cine; empty if not stated.
        frames: number of frames of the cine; None if not stated.
        swallows: one entry per swallow, in temporal order.
    """

    pseudonym: str = ""
    frames: int | None = None
    swallows: tuple[SwallowCorrection, ...] = ()

    @property
    def events(self) -> list[dict[str, int | None]]:
        """Corrected events, in the form of :func:`monai_agglo.swallow.measure`."""
        return [swallow.events for swallow in self.swallows]

    @property
    def iddsi(self) -> list[int | None]:
        """Consistency of each swallow."""
        return [swallow.iddsi for swallow in self.swallows]

    def to_json(self) -> dict[str, Any]:
        """JSON content of the file."""
        return {
            "kind": KIND,
            "format_version": VERSION,
            "pseudonym": self.pseudonym,
            "frames": self.frames,
            "swallows": [swallow.to_json() for swallow in self.swallows],
        }


def read_corrections(path: str | os.PathLike, pseudonym: str | None = None, frames: int | None = None) -> Corrections:
    """Read a corrections file exported from the report page.

    Args:
        path: the JSON file.
        pseudonym: expected pseudonym of the cine; None to skip the check.
        frames: expected number of frames; None to skip the check.

    Returns:
        The corrections.

    Raises:
        ValueError: the file is not a corrections file, belongs to another cine, or contains invalid values.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path}: larger than 1 MB, so this is not a corrections file")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError(f"{path}: is not JSON; give the file exported from the report page") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ValueError(f"{path}: is not a corrections file; give the file exported from the report page")
    if content.get("format_version") != VERSION:
        raise ValueError(f"{path}: format version {content.get('format_version')!r} is not supported ({VERSION} is)")
    own, count = content.get("pseudonym") or "", content.get("frames")
    if pseudonym and own and own != pseudonym:
        raise ValueError(f"{path}: belongs to another cine; export the corrections from this cine's page")
    if frames is not None and count is not None and count != frames:
        raise ValueError(f"{path}: belongs to a cine of {count} frames, but this one has {frames}")
    listed = content.get("swallows")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ValueError(f"{path}: has no list of swallows")
    swallows = tuple(_swallow(item, number, path, frames) for number, item in enumerate(listed, 1))
    return Corrections(str(own), frames if frames is not None else count, swallows)


def _swallow(item: dict[str, Any], number: int, path: Path, frames: int | None) -> SwallowCorrection:
    where = f"{path}: swallow {number}"
    iddsi, volume, events = item.get("iddsi"), item.get("volume_ml"), item.get("events_frame_index") or {}
    if iddsi is not None and (isinstance(iddsi, bool) or iddsi not in range(8)):
        raise ValueError(f"{where}: iddsi must be a level 0 to 7, or null")
    if volume is not None:
        known = isinstance(volume, (int, float)) and not isinstance(volume, bool) and math.isfinite(volume)
        if not known or not 0 < volume <= 1000:
            raise ValueError(f"{where}: volume_ml must be above 0 and at most 1000, or null")
    if not isinstance(events, dict):
        raise ValueError(f"{where}: events_frame_index must be an object of event names and frames")
    for name, frame in events.items():
        if name not in EVENTS:
            raise ValueError(f"{where}: unknown event {name[:40]!r}; known: {', '.join(EVENTS)}")
        if frame is None:
            continue
        last = "" if frames is None else f" to {frames - 1}"
        known = isinstance(frame, int) and not isinstance(frame, bool) and frame >= 0
        if not known or (frames is not None and frame >= frames):
            raise ValueError(f"{where}: event {name!r} must be a frame index 0{last}, or null")
    return SwallowCorrection(
        dict(events), None if iddsi is None else int(iddsi), None if volume is None else float(volume)
    )


def check_order(found: CineMeasures, corrections: Corrections) -> None:
    """Check the temporal order of corrected and detected events.

    Args:
        found: measures without corrections.
        corrections: corrections of the same cine.

    Raises:
        ValueError: more corrections than swallows, or two events in the wrong order.
    """
    given = [k for k, swallow in enumerate(corrections.swallows) if swallow != SwallowCorrection()]
    if given and given[-1] >= len(found.swallows):
        there = f"{len(found.swallows)} swallow{'s' * (len(found.swallows) != 1)}"
        raise ValueError(f"corrections of swallow {given[-1] + 1}, but {there} detected in these masks")
    for k, (swallow, correction) in enumerate(zip(found.swallows, corrections.swallows), 1):
        merged: dict[str, int | None] = {**swallow.events, **correction.events}
        for first, second in ORDER:
            a, b = merged.get(first), merged.get(second)
            if first not in correction.events and second not in correction.events:
                continue
            if a is not None and b is not None and (a >= b if (first, second) in STRICT else a > b):
                raise ValueError(
                    f"swallow {k}: {first} (frame {a + 1}) must come before {second} (frame {b + 1}); "
                    "correct or remove one of them"
                )
