"""Detection of swallows and their events in curves over frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from .bolus import BolusCurves

__all__ = ["EVENTS", "Swallow", "find_swallows", "first_beyond", "passages", "rise_from", "settled_from"]

EVENTS: dict[str, str] = {
    "oral": "start of the oral phase: the bolus head begins to move posteriorly",
    "bpm": "bolus passes mandible: its head crosses the ramus",
    "hyb": "hyoid burst: first frame of the hyoid's rise",
    "lvc": "laryngeal vestibule closure: first frame with a closed vestibule",
    "ueso": "upper oesophageal sphincter (UES) opening: first frame with bolus in it",
    "ues_max": "maximal UES width",
    "hyoid_peak": "maximal hyoid excursion",
    "mpc": "maximal pharyngeal constriction: smallest pharyngeal area",
    "uesc": "UES closure: first frame after the bolus tail",
    "lvco": "laryngeal vestibule reopening",
    "rest": "swallow rest: pharynx and hyoid (epiglottis if the hyoid is not labelled) are at rest",
}
"""Events and their definitions, after Steele et al. 2019 (ASPEKT); an event is its first frame."""

OPEN = 0.25
"""Smallest bolus width in an open UES, as a fraction of the largest width in the swallow."""
LEAST = 0.02
"""Smallest bolus width at the UES, in C2-C4; a narrower one is a film on the walls."""
JOIN_S = 0.1
"""Passages separated by a shorter gap, in seconds, are joined."""
RESTING = 75
"""Percentile of the pharyngeal area at rest: the pharynx is at rest in most frames and larger only when filled."""
CONSTRICTED = 0.75
"""Largest area of the constricted pharynx during a swallow, as a fraction of the area at rest."""
WIDE_AGAIN = 0.8
"""Smallest area of the pharynx between two swallows, as a fraction of the area at rest."""
ENOUGH = 0.25
"""Smallest bolus area of a swallow without visible constriction, as a fraction of the largest in the cine."""
EMPTIED = 0.5
"""Largest remainder in the pharynx after a swallow in progress at the first frame, as a fraction of its bolus."""


@dataclass
class Swallow:
    """A swallow.

    Args:
        start: first frame of the swallow.
        stop: frame after its last one.
        events: frame of each detected event, see :data:`EVENTS`.
        missing: reason of each missing event.
    """

    start: int
    stop: int
    events: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def put(self, event: str, frame: int | None, reason: str) -> None:
        """Store an event, or the reason of a missing one.

        Args:
            event: name of the event.
            frame: its frame, None if not found.
            reason: reason if ``frame`` is None.
        """
        if frame is None:
            self.missing[event] = reason
        else:
            self.events[event] = int(frame)


def passages(width: np.ndarray, frame_s: float | None = None) -> list[tuple[int, int]]:
    """Passages of bolus through the UES.

    Args:
        width: (T,) bolus width at the UES in C2-C4, see :func:`~monai_agglo.swallow.bolus.width_at_gate`.
        frame_s: time between frames in seconds; runs less than 0.1 s apart are joined (at most two frames). None joins
            runs one frame apart.

    Returns:
        (first open frame, first closed frame) of each passage.
    """
    width = np.nan_to_num(np.asarray(width, float))
    if not len(width) or width.max() < LEAST:
        return []
    gap = 1 if not frame_s else int(np.clip(JOIN_S // frame_s, 0, 2))
    found = []
    for first, last in _runs(width > max(LEAST, OPEN / 2 * width.max())):
        part = width[first:last]
        found += [(first + a, first + b) for a, b in _runs(part > OPEN * part.max())]
    joined: list[tuple[int, int]] = []
    for first, last in found:
        if joined and first - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def find_swallows(
    curves: BolusCurves, frame_s: float | None = None, pharynx_px: np.ndarray | None = None
) -> list[Swallow]:
    """Find the swallows of a cine, one per passage of bolus through the UES.

    Sets ``oral``, ``bpm``, ``ueso`` and ``uesc``. A passage in progress at the first or last frame has no opening or
    closure event. With a labelled pharynx, residue at the UES is discarded and interrupted passages are merged, see
    :func:`_is_swallowed` and :func:`_continues`.

    Args:
        curves: curves of the bolus.
        frame_s: time between frames in seconds; None if unknown.
        pharynx_px: (T,) area of the pharynx, nan in frames without it; None if not labelled.

    Returns:
        Swallows in temporal order; may be empty.
    """
    frames = len(curves.ues_width)
    width = None
    if pharynx_px is not None and np.isfinite(pharynx_px).any():
        width = pharynx_px / np.nanpercentile(pharynx_px, RESTING)
    found: list[tuple[int, int, int | None, str]] = []
    for opens, closes in passages(curves.ues_width, frame_s):
        start = found[-1][1] if found else 0
        bpm, reason = _passes_mandible(curves, start, opens)
        if width is not None:
            if found and bpm is None and _continues(curves, width, found[-1][:2], opens):
                found[-1] = (found[-1][0], closes, *found[-1][2:])
                continue
            if not _is_swallowed(curves, width, bpm, start, opens, closes):
                continue
        found.append((opens, closes, bpm, reason))
    swallows = []
    for k, (opens, closes, bpm, reason) in enumerate(found):
        start = found[k - 1][1] if k else 0
        swallow = Swallow(start, frames)
        swallow.put("ueso", opens if opens > 0 else None, "the recording starts with bolus in the UES")
        swallow.put("uesc", closes if closes < frames else None, "the recording ends with bolus in the UES")
        swallow.put("bpm", bpm, reason)
        if bpm is None:
            swallow.put("oral", None, reason)
        else:
            swallow.put("oral", *_starts_to_move(curves, start, bpm))
        swallows.append(swallow)
    for former, later in pairwise(swallows):  # a swallow ends where the next bolus begins to move
        former.stop = later.events.get("oral", later.events.get("bpm", later.start))
        former.stop = max(former.stop, later.start)
    return swallows


def _continues(curves: BolusCurves, width: np.ndarray, former: tuple[int, int], opens: int) -> bool:
    """Whether a passage without a new bolus from the mouth continues the previous one.

    It does if the pharynx has not widened in between, or if the previous passage preceded the constriction and its
    bolus is still in the pharynx.

    Args:
        curves: curves of the bolus.
        width: (T,) area of the pharynx relative to the area at rest.
        former: opening and closing frame of the previous passage.
        opens: opening frame of this passage.

    Returns:
        True if both passages belong to one swallow.
    """
    between = width[former[1] : opens]
    if np.isfinite(between).any() and np.nanmax(between) < WIDE_AGAIN:
        return True
    filled = np.nan_to_num(curves.pharyngeal_pct)
    too_soon = not (width[slice(*former)] < CONSTRICTED).any()
    return too_soon and bool(0 < ENOUGH * filled.max() <= filled[former[1] : opens].min())


def _is_swallowed(curves: BolusCurves, width: np.ndarray, bpm: int | None, start: int, opens: int, closes: int) -> bool:
    """Whether a passage is a swallow, not residue that sinks to the UES while the pharynx is at rest.

    Args:
        curves: curves of the bolus.
        width: (T,) area of the pharynx relative to the area at rest.
        bpm: frame in which the bolus passes the mandible, None without bolus from the mouth.
        start: frame after the previous swallow; 0 for the first.
        opens: opening frame of the passage.
        closes: closing frame of the passage.

    Returns:
        True for a swallow.
    """
    part = width[opens:closes]
    if not np.isfinite(part).any() or np.nanmin(part) < CONSTRICTED:
        return True
    filled = np.nan_to_num(curves.pharyngeal_pct)
    if bpm is None:  # a swallow in progress at the first frame empties the pharynx; residue does not
        if start > 0 or filled[min(closes, len(filled) - 1)] > EMPTIED * filled[:closes].max():
            return False
        bpm = 0
    return bool(filled[bpm:closes].max() >= ENOUGH * filled.max())


def _passes_mandible(curves: BolusCurves, start: int, opens: int) -> tuple[int | None, str]:
    """Frame of the last crossing of the ramus by the bolus head before the largest filling of the pharynx."""
    reach = curves.reach[start : opens + 1]
    if not np.isfinite(reach).any():
        return None, "the ramus of the mandible was not found"
    filled = np.nan_to_num(curves.pharyngeal_pct[start : opens + 1])
    before = np.flatnonzero(reach[: int(np.argmax(filled)) + 1] <= 0)
    if not len(before):
        return None, "no earlier frame shows the bolus in front of the mandibular ramus"
    after = np.flatnonzero(reach[before[-1] :] > 0)
    if not len(after):
        return None, "the bolus is never seen to cross the mandibular ramus"
    return start + int(before[-1] + after[0]), ""


def _starts_to_move(curves: BolusCurves, start: int, bpm: int) -> tuple[int | None, str]:
    """Frame in which the bolus head begins to move from the hold in the mouth to the ramus."""
    elsewhere = np.flatnonzero(~(curves.reach[start:bpm] <= 0))
    held = start + (int(elsewhere[-1]) + 1 if len(elsewhere) else 0)
    moves = rise_from(curves.reach[held : bpm + 1], bpm - held, 0.05)
    return None if moves is None else held + moves, "no earlier frame shows the bolus held in the mouth"


def rise_from(curve: np.ndarray, peak: int, fraction: float) -> int | None:
    """First frame of the rise to a peak, searched backwards from the peak.

    Args:
        curve: (T,) any curve.
        peak: frame of the peak.
        fraction: threshold between baseline (median of the first half up to the peak) and peak, 0..1.

    Returns:
        The first frame above the threshold; None if the curve exceeds it from the start or does not rise.
    """
    before = curve[: peak + 1]
    known = before[: max(1, (peak + 1) // 2)]
    known = known[np.isfinite(known)]
    if not len(known) or not np.isfinite(curve[peak]):
        return None
    level = np.median(known)
    low = np.flatnonzero(~(before - level > fraction * (curve[peak] - level)))
    if curve[peak] <= level or not len(low) or low[-1] >= peak:
        return None
    return int(low[-1] + 1)


def first_beyond(flags: np.ndarray, start: int, stop: int) -> int | None:
    """First true frame in ``start..stop - 1``, or None."""
    hits = np.flatnonzero(flags[max(start, 0) : stop])
    return int(max(start, 0) + hits[0]) if len(hits) else None


def settled_from(curves: list[np.ndarray], start: int, stop: int, still: int, tolerance: float) -> int | None:
    """First frame from which all curves stay at their final level.

    The final level of a curve is the median of its last ``still`` frames. A curve has settled when it stays within
    ``tolerance`` of its range, or within the noise of the masks if that is larger. The end of the motion, hidden in
    this band, is extrapolated by at most ``still`` frames.

    Args:
        curves: (T,) each, in any unit; nan frames are ignored.
        start: first frame of the range.
        stop: frame after the last of the range.
        still: number of frames that must be at rest at the end.
        tolerance: fraction of the range of a curve.

    Returns:
        The frame; None if a curve still moves at the end, or no curve is known.
    """
    latest = None
    for curve in curves:
        part = curve[start:stop]
        known = np.isfinite(part)
        if known.sum() < still + 1:
            continue
        values = part[known]
        end = values[-still:]
        swing = np.ptp(values)
        level = np.median(end)
        # second differences contain the noise of the masks and little of a smooth motion
        bends = np.diff(values, 2)
        noise = float(np.quantile(abs(bends), 0.25)) / (0.3186 * np.sqrt(6)) if len(bends) else 0.0
        if np.ptp(end) > max(0.06 * swing, 4 * noise):
            return None
        away = known & (abs(part - level) > max(tolerance * swing, 3.5 * noise))
        moved = np.flatnonzero(away)
        frame = start + (int(moved[-1]) + _coast(abs(part - level), int(moved[-1]), still) if len(moved) else 0)
        latest = frame if latest is None else max(latest, frame)
    return latest


def _coast(distance: np.ndarray, last: int, most: int) -> int:
    """Number of frames from the last detectable motion to rest.

    At constant deceleration the square root of the remaining distance decreases linearly. The line is extrapolated
    below the noise, unless the curve stops earlier.
    """
    if last < 2 or not distance[last - 2] > distance[last]:
        return 1
    root = np.sqrt(distance[last])
    slope = (np.sqrt(distance[last - 2]) - root) / 2
    for ahead in range(1, most):
        expected = max(root - ahead * slope, 0.0) ** 2
        if not distance[last + ahead] > 0.1 * expected or expected == 0.0:
            return ahead
    return most


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(first, last + 1) of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]
