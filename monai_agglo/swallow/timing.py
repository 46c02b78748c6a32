"""Swallows and their events, found in curves over time: frames only, the seconds come from the frame times."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from .bolus import BolusCurves

__all__ = ["EVENTS", "Swallow", "find_swallows", "first_beyond", "passages", "rise_from", "settled_from"]

EVENTS: dict[str, str] = {
    "oral": "start of the oral phase: the bolus head begins to move backwards",
    "bpm": "bolus passes mandible: its head crosses the ramus",
    "hyb": "hyoid burst: first frame of the hyoid's rise",
    "lvc": "laryngeal vestibule closure: first frame without an open vestibule",
    "ueso": "upper oesophageal sphincter (UES) opens: first frame with bolus in it",
    "ues_max": "widest UES",
    "hyoid_peak": "largest hyoid excursion",
    "mpc": "maximum pharyngeal constriction: smallest pharyngeal area",
    "uesc": "UES closes: first frame behind the bolus tail",
    "lvco": "laryngeal vestibule opens again",
    "rest": "swallow rest: pharynx and hyoid (epiglottis where the hyoid is not labelled) have come to rest",
}
"""Events and their definitions, after Steele et al. 2019 (ASPEKT); every one is the first frame that shows it."""

OPEN = 0.25
"""The UES counts as open while the bolus in it is wider than this part of its largest width in that swallow."""
LEAST = 0.02
"""Bolus narrower than this at the UES, in C2-C4, is a film on the walls."""
JOIN_S = 0.1
"""Two passages with a shorter gap are one."""
RESTING = 75
"""The pharynx at rest has this percentile of its areas: it rests for most of a cine, and is wider only while full."""
CONSTRICTED = 0.75
"""In a swallow the pharynx becomes narrower than this part of its area at rest."""
WIDE_AGAIN = 0.8
"""Between two swallows it is wider than this part of it."""
ENOUGH = 0.25
"""Where it is not seen to constrict, the bolus in it must reach this part of the largest in the cine."""
EMPTIED = 0.5
"""Behind a swallow in which the recording begins, less than this part of that bolus is left in the pharynx."""


@dataclass
class Swallow:
    """One swallow.

    Args:
        start, stop: first frame, and the frame after the last, that belong to it and not to its neighbours.
        events: frame of each event found, see :data:`EVENTS`.
        missing: why each other event was not found.
    """

    start: int
    stop: int
    events: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def put(self, event: str, frame: int | None, reason: str) -> None:
        """Store an event, or why it was not found.

        Args:
            event: its name.
            frame: the frame, None when it was not found.
            reason: used when ``frame`` is None.
        """
        if frame is None:
            self.missing[event] = reason
        else:
            self.events[event] = int(frame)


def passages(width: np.ndarray, frame_s: float | None = None) -> list[tuple[int, int]]:
    """Runs of frames in which a bolus passes the UES.

    Args:
        width: (T,) width of the bolus at the UES, in C2-C4, see :func:`~monai_agglo.swallow.bolus.width_at_gate`.
        frame_s: time between frames, s; joins runs less than 0.1 s apart (never more than two frames). None joins
            runs one frame apart.

    Returns:
        (first open frame, first closed frame behind the bolus) of each passage.
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
    """Swallows of a cine: one for each passage of bolus through the UES.

    Sets ``oral``, ``bpm``, ``ueso`` and ``uesc``. A passage that has begun before the first frame, or has not ended in
    the last, misses that event. Where the pharynx is labelled, residue that merely lies at the UES is no passage, and
    one that is seen in pieces is one: see :func:`_pieces_of_one` and :func:`_is_swallowed`.

    Args:
        curves: of the bolus.
        frame_s: time between frames, s; None when not known.
        pharynx_px: (T,) area of the pharynx, nan where it is not seen; None when it is not labelled.

    Returns:
        Swallows in order of time; empty when no bolus passes the UES.
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
            if found and bpm is None and _pieces_of_one(curves, width, found[-1][:2], opens):
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
    for former, later in pairwise(swallows):  # up to where the next bolus starts to move
        former.stop = later.events.get("oral", later.events.get("bpm", later.start))
        former.stop = max(former.stop, later.start)
    return swallows


def _pieces_of_one(curves: BolusCurves, width: np.ndarray, former: tuple[int, int], opens: int) -> bool:
    """Whether a passage without a new bolus from the mouth goes on with the one before.

    It does where the pharynx has not widened since, and where the one before was a glimpse of a bolus that is still in
    the pharynx, which had not begun to constrict.

    Args:
        curves: of the bolus.
        width: (T,) area of the pharynx, as a part of that at rest.
        former: opening and closing of the passage before.
        opens: of this one.
    """
    between = width[former[1] : opens]
    if np.isfinite(between).any() and np.nanmax(between) < WIDE_AGAIN:
        return True
    filled = np.nan_to_num(curves.pharyngeal_pct)
    too_soon = not (width[slice(*former)] < CONSTRICTED).any()
    return too_soon and bool(0 < ENOUGH * filled.max() <= filled[former[1] : opens].min())


def _is_swallowed(curves: BolusCurves, width: np.ndarray, bpm: int | None, start: int, opens: int, closes: int) -> bool:
    """Whether what is seen in the UES is swallowed. Residue sinks to the level of the UES while the pharynx is at rest.

    Args:
        curves: of the bolus.
        width: (T,) area of the pharynx, as a part of that at rest.
        bpm: frame in which the bolus passes the mandible, None where no bolus comes from the mouth.
        start: frame after the swallow before; 0 for the first.
        opens, closes: of the passage.
    """
    part = width[opens:closes]
    if not np.isfinite(part).any() or np.nanmin(part) < CONSTRICTED:
        return True
    filled = np.nan_to_num(curves.pharyngeal_pct)
    if bpm is None:  # unless the recording begins within the swallow, whose pharynx then empties
        if start > 0 or filled[min(closes, len(filled) - 1)] > EMPTIED * filled[:closes].max():
            return False
        bpm = 0
    return bool(filled[bpm:closes].max() >= ENOUGH * filled.max())


def _passes_mandible(curves: BolusCurves, start: int, opens: int) -> tuple[int | None, str]:
    """Frame in which the head of the bolus crosses the ramus for the last time before most of it is in the pharynx."""
    reach = curves.reach[start : opens + 1]
    if not np.isfinite(reach).any():
        return None, "the ramus of the mandible was not found"
    filled = np.nan_to_num(curves.pharyngeal_pct[start : opens + 1])
    before = np.flatnonzero(reach[: int(np.argmax(filled)) + 1] <= 0)
    if not len(before):
        return None, "no frame before shows the bolus in front of the mandibular ramus"
    after = np.flatnonzero(reach[before[-1] :] > 0)
    if not len(after):
        return None, "the bolus is never seen to cross the mandibular ramus"
    return start + int(before[-1] + after[0]), ""


def _starts_to_move(curves: BolusCurves, start: int, bpm: int) -> tuple[int | None, str]:
    """Frame in which the head of the bolus, held in the mouth, begins to move towards the ramus."""
    elsewhere = np.flatnonzero(~(curves.reach[start:bpm] <= 0))
    held = start + (int(elsewhere[-1]) + 1 if len(elsewhere) else 0)
    moves = rise_from(curves.reach[held : bpm + 1], bpm - held, 0.05)
    return None if moves is None else held + moves, "the bolus is not seen held in the mouth before"


def rise_from(curve: np.ndarray, peak: int, fraction: float) -> int | None:
    """First frame of the rise that leads to a peak, walking back from it.

    Args:
        curve: (T,) any curve.
        peak: its frame with the value to which it rises.
        fraction: of the way from the level before (the median of the first half up to the peak) to the peak.

    Returns:
        The first frame above that level; None when the curve is above it from the start, or does not rise.
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
    """First frame in ``start..stop - 1`` with a true flag, or None."""
    hits = np.flatnonzero(flags[max(start, 0) : stop])
    return int(max(start, 0) + hits[0]) if len(hits) else None


def settled_from(curves: list[np.ndarray], start: int, stop: int, still: int, tolerance: float) -> int | None:
    """First frame from which all curves stay where they end.

    Each curve ends at the median of its last ``still`` frames before ``stop``; it has settled where it stays within
    ``tolerance`` of that, as a part of its range in ``start..stop - 1``, or within the noise of the masks where that is
    more. The last bit of the way, which hides in that, is prolonged from how it brakes, by ``still`` frames at most.

    Args:
        curves: (T,) each, in any unit; frames that are nan do not count.
        start, stop: range of frames.
        still: number of frames that must lie still at the end.
        tolerance: part of the range.

    Returns:
        The frame; None when a curve still moves at the end or none is known.
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
        # second differences hold the noise of the masks, and little of a smooth motion
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
    """Frames from the last one that is seen to move to the one at rest.

    What comes to rest brakes evenly, so that the root of the distance left falls as a straight line; the last of it is
    too small to be told from noise, and is reached by prolonging that line, unless it plainly stopped before.
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
    """(first, after the last) of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]
