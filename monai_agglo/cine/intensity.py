"""Resizing of images and masks, and the robust intensity range."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["exposed_range", "fitted_shape", "resize_plane", "sample_slices", "scale_intensity"]


def resize_plane(plane: np.ndarray, rows: int, cols: int, binary: bool) -> np.ndarray:
    """Resize an image, or a binary mask by linear interpolation and a threshold of 0.5.

    Args:
        plane: (H, W).
        rows: output height in pixels.
        cols: output width in pixels.
        binary: ``plane`` is a mask of 0 and 1; a constant plane keeps its value.

    Returns:
        (rows, cols) of the mask's dtype, or float32 for an image.
    """
    method = cv2.INTER_AREA if rows < plane.shape[0] or cols < plane.shape[1] else cv2.INTER_LINEAR
    if not binary:
        return cv2.resize(plane.astype(np.float32, copy=False), (cols, rows), interpolation=method)
    low, high = plane.min(), plane.max()
    if low == high:
        return np.full((rows, cols), low, plane.dtype)
    scaled = cv2.resize((plane == 1).astype(np.float32), (cols, rows), interpolation=method)
    return (scaled > 0.5).astype(plane.dtype)


def exposed_range(values: np.ndarray, low: float = 0.5, high: float = 99.5) -> tuple[float, float]:
    """Robust intensity range of the exposed field.

    Shutters and saturated areas (more than 2 % of the pixels within 1 % of one end of the range) are excluded, and so
    are defective pixels (less than 0.02 %).

    Args:
        values: intensities of any shape.
        low: lower percentile.
        high: upper percentile.

    Returns:
        Lower and upper intensity; equal for a constant image.
    """
    values = np.asarray(values).ravel()
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if values.size == 0:
        return 0.0, 0.0
    least, most = (float(x) for x in np.percentile(values, [0.02, 99.98]))
    if most <= least:
        least, most = float(values.min()), float(values.max())
    margin = 0.01 * (most - least)
    keep = np.ones(values.shape, bool)
    for end in (values <= least + margin, values >= most - margin):
        if end.mean() > 0.02:
            keep &= ~end
    inside = values[keep] if keep.mean() > 0.05 else values
    a, b = np.percentile(inside, [low, high])
    return (float(a), float(b)) if b > a else (least, most)


def fitted_shape(rows: int, columns: int, size: int | None) -> tuple[int, int]:
    """Shape of a frame scaled so that its longer side has a given length; the aspect is kept.

    Args:
        rows: of the frame.
        columns: of the frame.
        size: longer side in pixels; None keeps the shape.

    Returns:
        Rows and columns, at least 16 each.
    """
    if size is None:
        return rows, columns
    scale = size / max(rows, columns)
    return max(16, round(rows * scale)), max(16, round(columns * scale))


def sample_slices(shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """Rows, columns and frames that give the percentiles of a cine to a hundredth of a percent.

    Args:
        shape: (..., H, W, T).

    Returns:
        Three slices that select about a million pixels; a reader of streams decodes only those frames.
    """
    height, width, frames = shape[-3:]
    step = max(1, int(np.sqrt(height * width * min(frames, 16) / 1e6)))
    return slice(None, None, step), slice(None, None, step), slice(None, None, max(1, frames // 16))


def scale_intensity(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale to 0..1: float32, ``low`` becomes 0 and ``high`` 1, the rest is clipped, NaN becomes 0.

    Args:
        image: intensities of any shape.
        low: intensity that becomes 0.
        high: intensity that becomes 1; the result is 0 throughout unless it is above ``low``.

    Returns:
        A new array of the same shape.
    """
    image = np.asarray(image, np.float32)
    if not high > low:
        return np.zeros_like(image)
    scaled = (image - np.float32(low)) / np.float32(high - low)
    np.clip(scaled, 0, 1, out=scaled)
    return np.nan_to_num(scaled, copy=False, nan=0.0)
