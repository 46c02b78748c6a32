"""Suite: whole segmenters on one cine, ours in every runtime beside alternatives trained from scratch."""

from __future__ import annotations

from typing import Any

from .context import Context
from .files import phantom_frames
from .interleave import Candidate, Row, measure_interleaved
from .our_runtimes import SETTINGS, runtime_candidates
from .segmenter_zoo import NETWORKS, WAYS, make_boxes

__all__ = ["WHAT", "segmenters"]

WHAT = (
    "Frames of one synthetic cine, already in memory, to masks of twelve structures: network and threshold, "
    "without reading and resizing. 'Ours, RUNTIME PRECISION' is what predict runs, which also clears stray parts "
    "of the masks; the other forms of ours are its network alone. Every candidate in a process of its own, in "
    "turns; medians with quartiles. Memory is the peak of the whole process, libraries included."
)
ZOO = f"{__package__}.segmenter_zoo"


def segmenters(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``rows``, one per candidate and number of threads, and the cine's ``size`` and ``frames_per_call``.
    """
    size, frames = context.pick((512, 8), (64, 2))
    for count in sorted({frames, 2 * frames, 8, context.pick(2, 1)}):
        phantom_frames(context.work, count, size)
    threads = context.pick([1, 2], [1])
    common = {"work": str(context.work), "size": size}
    repeats = context.pick(7, 2)
    ways = context.pick(WAYS, WAYS[:1])
    candidates = [
        Candidate(f"ours, PyTorch {way}", f"{ZOO}:make_ours",
                  # compilation per number of threads would dominate the run time
                  {**common, "way": way, "frames": frames, "threads": threads[-1:] if "compile" in way else threads},
                  max(threads), repeats)
        for way in ways
    ]  # fmt: skip
    settings = context.pick(SETTINGS, SETTINGS[:1])
    candidates += runtime_candidates(context.work, size, 2 * frames, threads, repeats, settings)
    for name in context.pick(tuple(NETWORKS), ("UNet",)):
        options = {**common, "name": name, "frames": context.pick(2, 1), "threads": threads[-1:]}
        candidates.append(Candidate(name, f"{ZOO}:make_network", options, max(threads), min(repeats, 5)))
    options = {**common, "threads": threads[-1:], "random_weights": False}
    candidates.append(Candidate("LiteMedSAM, a box each", f"{ZOO}:{make_boxes.__name__}", options, max(threads), 3))
    rows = [_row(row) for row in measure_interleaved(candidates, context.share(1.0), context.log)]
    return {"what": WHAT, "size": size, "frames_per_call": frames, "rows": rows}


def _row(row: Row) -> dict[str, Any]:
    threads = row.case.partition("@")[2]
    ours = row.candidate.startswith("ours, ")
    return {"name": row.candidate, "ours": ours, "threads": int(threads) if threads else None} | row.summary()
