"""Frame times and repeated frames."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from .header import FunctionalGroups, number, numbers, text, value

_MIN_STEP_MS, _MAX_STEP_MS = 0.1, 60_000.0  # plausible range: 10,000 frames per second to one per minute
_DATE_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?([+-]\d{4})?$")
_TIME = re.compile(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?$")


@dataclass(frozen=True)
class Timing:
    """Frame times of a cine.

    Args:
        times_ms: time of each frame relative to the first in milliseconds, None if unknown.
        source: the tag of the times, ``"none"`` without one.
        assumed: the source is a display rate instead of acquisition times.
    """

    times_ms: list[float] | None
    source: str
    assumed: bool = False


NO_TIMING = Timing(None, "none")


def dicom_timing(dataset: Dataset, frames: int) -> Timing:
    """Frame times of a multi-frame DICOM file.

    Precedence: Enhanced per-frame times, the tag of FrameIncrementPointer, FrameTime, FrameTimeVector, and the display
    rates CineRate and RecommendedDisplayFrameRate, which are marked as assumed.

    Args:
        dataset: the parsed header.
        frames: number of frames.

    Returns:
        The timing; implausible sources (wrong length, not ascending, step out of range) are skipped.
    """
    times = _functional_times(dataset, frames)
    if times is not None:
        return Timing(times[0], times[1])
    pointers = _pointers(dataset)
    order = [tag for tag in pointers if tag in ("FrameTime", "FrameTimeVector")]
    for name in [*order, *(tag for tag in ("FrameTime", "FrameTimeVector") if tag not in order)]:
        found = constant_times(number(dataset, name), frames) if name == "FrameTime" else _vector(dataset, frames)
        if found is not None:
            return Timing(found, name)
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = number(dataset, name)
        found = constant_times(1000.0 / rate, frames) if rate and rate > 0 else None
        if found is not None:
            return Timing(found, name, assumed=True)
    return NO_TIMING


def instance_time(dataset: Dataset) -> float | None:
    """Acquisition time of a single-frame instance.

    Args:
        dataset: its header.

    Returns:
        Milliseconds since 1970, None if the file does not state a time.
    """
    stamp = parse_date_time(text(dataset, "AcquisitionDateTime"))
    if stamp is not None:
        return stamp
    for date, time in (("AcquisitionDate", "AcquisitionTime"), ("ContentDate", "ContentTime")):
        stamp = parse_date_time(text(dataset, date), text(dataset, time))
        if stamp is not None:
            return stamp
    return None


def instance_timing(datasets: Sequence[Dataset]) -> Timing:
    """Frame times of a series of single-frame instances.

    Args:
        datasets: the headers, in frame order.

    Returns:
        The acquisition times if all instances have one and they ascend, otherwise as for a multi-frame file.
    """
    stamps = [instance_time(dataset) for dataset in datasets]
    if len(stamps) > 1 and all(stamp is not None for stamp in stamps):
        times = ascending([stamp - stamps[0] for stamp in stamps])  # type: ignore[operator]
        if times is not None:
            return Timing(times, "AcquisitionTime")
    return dicom_timing(datasets[0], len(datasets))


def parse_date_time(date: str, time: str | None = None) -> float | None:
    """Milliseconds since 1970 of a DICOM DT, or of a DA and a TM.

    Args:
        date: DT value, or DA value when ``time`` is given.
        time: TM value.

    Returns:
        Milliseconds, None if the value is invalid.
    """
    if time is not None:
        if len(date) != 8 or not _TIME.match(time):
            return None
        date += time
    match = _DATE_TIME.match(date)
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = dt.datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute or 0),
            min(59, int(second or 0)),
            tzinfo=dt.timezone.utc,
        )
    except ValueError:
        return None
    micro = int((fraction or "0").ljust(6, "0"))
    shift = 0
    if zone:
        shift = (int(zone[1:3]) * 60 + int(zone[3:5])) * (-1 if zone[0] == "-" else 1)
    return (moment.timestamp() - shift * 60) * 1000.0 + micro / 1000.0


def effective_fps(times_ms: Sequence[float] | None, repeated: Sequence[int]) -> float | None:
    """Frame rate without repeated frames.

    Args:
        times_ms: frame times in milliseconds.
        repeated: indices of frames equal to their predecessor.

    Returns:
        Frames per second, None without times or with a single frame.
    """
    if times_ms is None or len(times_ms) < 2 or times_ms[-1] <= times_ms[0]:
        return None
    nominal = (len(times_ms) - 1) / (times_ms[-1] - times_ms[0]) * 1000.0
    return round(nominal * (len(times_ms) - len(repeated)) / len(times_ms), 4)


class RepeatFinder:
    """Detects repeated frames while a cine is read.

    Pulsed fluoroscopy at 15 pulses per second, recorded at 30 frames per second, stores each image twice. New frames
    differ by quantum noise; repeated frames are identical or, after lossy coding, differ much less.

    Args:
        lossy: the cine is lossily compressed.
    """

    def __init__(self, lossy: bool = False) -> None:
        self._lossy = lossy
        self._last: np.ndarray | None = None
        self._differences: list[float] = []

    def add(self, frame: np.ndarray) -> None:
        """Add the next frame, (H, W)."""
        if self._last is not None:
            self._differences.append(self._difference(frame, self._last))
        self._last = frame

    def _difference(self, frame: np.ndarray, past: np.ndarray) -> float:
        """Mean absolute difference on a grid; 0 or 1 for lossless frames."""
        if not self._lossy:
            middle = frame.shape[0] // 2  # one row is enough to detect most new frames
            same = np.array_equal(frame[middle], past[middle]) and np.array_equal(frame, past)
            return 0.0 if same else 1.0
        step = max(1, min(frame.shape) // 64)
        wide = np.float32 if frame.dtype.itemsize < 4 else np.float64
        difference = float(np.abs(frame[::step, ::step].astype(wide) - past[::step, ::step]).mean())
        if difference == 0.0 and not np.array_equal(frame, past):
            difference = float(np.abs(frame.astype(wide) - past).mean())
        return difference

    def result(self) -> list[int]:
        """Indices of the repeated frames among the added ones."""
        if not self._differences:
            return []
        differences = np.array(self._differences)
        limit = 0.0
        if self._lossy and len(differences) >= 8:
            # Near copies count only if the differences form two clearly separated groups.
            typical = float(np.median(np.sort(differences)[len(differences) // 2 :]))
            below = differences[differences < 0.2 * typical]
            above = differences[differences >= 0.2 * typical]
            if typical > 0 and len(below) and above.min() > 2.5 * below.max():
                limit = float(below.max())
        return [int(index) + 1 for index in np.flatnonzero(differences <= limit)]


def _functional_times(dataset: Dataset, frames: int) -> tuple[list[float], str] | None:
    groups = FunctionalGroups(dataset)
    if len(groups.frames) != frames:
        return None
    contents = [groups.get(frame, "FrameContentSequence") for frame in range(frames)]
    if any(content is None for content in contents):
        return None
    for name in ("FrameReferenceDateTime", "FrameAcquisitionDateTime"):
        stamps = [parse_date_time(text(content, name)) for content in contents]
        if all(stamp is not None for stamp in stamps):
            times = ascending([stamp - stamps[0] for stamp in stamps])  # type: ignore[operator]
            if times is not None:
                return times, name
    return None


def _pointers(dataset: Dataset) -> list[str]:
    """Keywords of the tags in FrameIncrementPointer."""
    from pydicom.datadict import keyword_for_tag

    found = value(dataset, "FrameIncrementPointer")
    if found is None:
        return []
    many = found if not isinstance(found, (int, str, bytes)) else [found]
    try:
        return [keyword_for_tag(tag) for tag in many]
    except Exception:
        return []


def constant_times(step_ms: float | None, frames: int) -> list[float] | None:
    """Frame times in ms at a constant step; None for an implausible step."""
    if step_ms is None or not _MIN_STEP_MS <= step_ms <= _MAX_STEP_MS:
        return None
    return [round(index * step_ms, 6) for index in range(frames)]


def _vector(dataset: Dataset, frames: int) -> list[float] | None:
    steps = numbers(dataset, "FrameTimeVector")
    if len(steps) != frames:
        return None
    times = np.cumsum(steps)
    return ascending((times - times[0]).tolist())


def ascending(times: list[float]) -> list[float] | None:
    """The times in ms if they ascend in plausible steps, otherwise None."""
    if len(times) > 1 and not all(0 < b - a <= _MAX_STEP_MS for a, b in itertools.pairwise(times)):
        return None
    return [round(time, 6) for time in times]
