"""Exposed field of a fluoroscopy cine, and blanking of burnt-in text outside it.

The border outside the collimator is dark, uniform and static; vendors burn names and dates into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from .cine import Cine

__all__ = ["blank_outside", "dark_level", "exposed_field", "find_field"]

SAMPLES = 24
"""Frames sampled from a cine."""
BORDER_TOLERANCE = 0.02
"""Largest deviation of a border pixel from the border's grey level, as a fraction of the grey-level range."""
MIN_BORDER = 0.01
"""Smallest border, as a fraction of the image area."""


def find_field(cine: Cine) -> np.ndarray | None:
    """Exposed field of a cine, estimated from :data:`SAMPLES` frames.

    Args:
        cine: an open cine.

    Returns:
        (H, W) bool, True inside; None where the image is exposed up to its edges or no field is found.
    """
    total = cine.shape[2]
    picked = sorted({round(i) for i in np.linspace(0, total - 1, min(total, SAMPLES))})
    return exposed_field(cine.frames(picked))


def exposed_field(frames: Iterable[np.ndarray]) -> np.ndarray | None:
    """Exposed field, estimated from frames with dark barium.

    The border is the set of pixels at the dark level of the image edge. The field is the convex hull of the largest
    connected component of the remaining pixels; smaller components are text or logos.

    Args:
        frames: (H, W) frames of one size, spread over the cine.

    Returns:
        (H, W) bool, True inside; None without a dark border or without a large component.
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
    tolerance = BORDER_TOLERANCE * (most - least)
    level = dark_level(low)
    if level > least + 0.25 * (most - least):  # the image edge is exposed
        return None
    dark = (np.abs(low - level) <= tolerance) & (np.abs(high - level) <= tolerance)
    if dark.mean() < MIN_BORDER:
        return None
    rows, columns = low.shape
    size = max(3, round(min(rows, columns) / 16) | 1)  # wider than the strokes of letters that touch the field
    body = cv2.morphologyEx((~dark).astype(np.uint8), cv2.MORPH_OPEN, np.ones((size, size), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(body)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if stats[largest, cv2.CC_STAT_AREA] < 0.05 * rows * columns:
        return None
    # A collimated field is convex, so that dark anatomy at its rim (shoulder, jaw) belongs to it.
    outline = cv2.findContours((labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    field = np.zeros((rows, columns), np.uint8)
    cv2.fillConvexPoly(field, cv2.convexHull(np.concatenate(outline)), 1)
    return None if field.all() else field > 0


def dark_level(image: np.ndarray) -> float:
    """Most frequent grey level along the edge of an image (H, W): that of the border, robust to burnt-in text."""
    band = max(1, round(min(image.shape) / 50))
    edge = np.concatenate([
        image[:band].ravel(), image[-band:].ravel(), image[:, :band].ravel(), image[:, -band:].ravel()
    ])  # fmt: skip
    values, counts = np.unique(np.rint(edge), return_counts=True)
    return float(values[np.argmax(counts)])


def blank_outside(frames: Iterable[np.ndarray], field: np.ndarray | None) -> Iterator[np.ndarray]:
    """Fill frames with the border's grey level outside the exposed field.

    Args:
        frames: (H, W) frames.
        field: (H, W) bool, True inside; None leaves the frames unchanged.

    Yields:
        Blanked copies of the frames, or the frames themselves without a field.
    """
    level = None
    for frame in frames:
        if field is None:
            yield frame
            continue
        if level is None:
            level = frame.dtype.type(dark_level(frame))
        yield np.where(field, frame, level)
