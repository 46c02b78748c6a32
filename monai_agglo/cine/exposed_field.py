"""The exposed field of a fluoroscopy cine, and blanking of what is burnt in outside it.

Outside the collimator nothing is exposed: the border is dark, even and still, and vendors write names and dates there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from .cine import Cine

__all__ = ["blank_outside", "dark_level", "exposed_field", "find_field"]

SAMPLES = 24
EVEN = 0.02
"""How far a pixel of the border may lie from the border's grey level, as part of the range of grey levels."""
LEAST = 0.01
"""A dark border smaller than this part of the picture is none."""


def find_field(cine: Cine) -> np.ndarray | None:
    """The exposed field of a cine, from a sample of its frames.

    Args:
        cine: an open cine.

    Returns:
        (H, W) bool, True inside; None where the picture is exposed up to its edges, or no field can be told.
    """
    total = cine.shape[2]
    picked = sorted({round(i) for i in np.linspace(0, total - 1, min(total, SAMPLES))})
    return exposed_field(cine.frames(picked))


def exposed_field(frames: Iterable[np.ndarray]) -> np.ndarray | None:
    """The exposed field, from frames in which barium is dark.

    The dark level that fills the edge of the picture is looked for. The largest body of other pixels, its dents
    filled, is the field; what else stands out from the dark is text or a logo.

    Args:
        frames: (H, W) frames of one size, spread over the cine.

    Returns:
        (H, W) bool, True inside; None where there is no dark border or no body in it.
    """
    low = high = None
    for frame in frames:
        frame = np.asarray(frame, np.float32)
        low = frame.copy() if low is None else np.minimum(low, frame)
        high = frame.copy() if high is None else np.maximum(high, frame)
    if low is None or high is None or min(low.shape) < 8:
        return None
    least, most = (float(x) for x in np.percentile(high, [0, 99.9]))
    if most <= least:
        return None
    tolerance = EVEN * (most - least)
    level = dark_level(low)
    if level > least + 0.25 * (most - least):  # the edge is exposed
        return None
    dark = (np.abs(low - level) <= tolerance) & (np.abs(high - level) <= tolerance)
    if dark.mean() < LEAST:
        return None
    rows, columns = low.shape
    # letters are thinner than this, also where they touch the field
    size = max(3, round(min(rows, columns) / 16) | 1)
    body = cv2.morphologyEx((~dark).astype(np.uint8), cv2.MORPH_OPEN, np.ones((size, size), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(body)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[largest, cv2.CC_STAT_AREA] < 0.05 * rows * columns:
        return None
    # A collimated field is convex; dark parts at its rim (a shoulder, the jaw) belong to it.
    outline = cv2.findContours((labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    field = np.zeros((rows, columns), np.uint8)
    cv2.fillConvexPoly(field, cv2.convexHull(np.concatenate(outline)), 1)
    return None if field.all() else field > 0


def dark_level(picture: np.ndarray) -> float:
    """The commonest grey level along the edge of a picture (H, W): that of the border, whatever is written on it."""
    band = max(1, round(min(picture.shape) / 50))
    edge = np.concatenate([
        picture[:band].ravel(), picture[-band:].ravel(), picture[:, :band].ravel(), picture[:, -band:].ravel()
    ])  # fmt: skip
    values, counts = np.unique(np.rint(edge), return_counts=True)
    return float(values[np.argmax(counts)])


def blank_outside(frames: Iterable[np.ndarray], field: np.ndarray | None) -> Iterator[np.ndarray]:
    """Frames with one grey level outside the exposed field.

    Args:
        frames: (H, W) frames.
        field: (H, W) bool, True inside; None blanks nothing.

    Yields:
        The frames; copies where something is blanked.
    """
    level = None
    for frame in frames:
        if field is None:
            yield frame
            continue
        if level is None:
            level = frame.dtype.type(dark_level(frame))
        yield np.where(field, frame, level)
