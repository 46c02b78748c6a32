"""Resizing that gives the pixels of the libraries the teachers were trained with, as one small matrix per axis.

Pillow, OpenCV, scikit-image and PyTorch do not resize alike, and a teacher's features depend on it. Each method here
is separable and linear, so it is written as a weight matrix (n_out, n_in) per axis; the rounding to 8 bits happens
where the library does it. A batch is then two matrix products, on any device.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

__all__ = ["METHODS", "axis_weights", "resize_grey"]

METHODS = ("pil_bicubic", "pil_bilinear", "cv2_area", "skimage_cubic")

_PILLOW_BITS = 22  # Pillow keeps its 8-bit weights as integers of this precision


def resize_grey(images: torch.Tensor, size: tuple[int, int], method: str) -> torch.Tensor:
    """Resize grey 8-bit images as the named library would.

    Args:
        images: (B, 1, H, W), whole numbers 0..255 in a floating dtype.
        size: rows and columns of the result.
        method: one of :data:`METHODS`.

    Returns:
        (B, 1, rows, columns), whole numbers 0..255 in the dtype of ``images``.

    Raises:
        ValueError: for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown resizing method {method!r}; known are {', '.join(METHODS)}")
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    # Half a grey level decides the rounding, so the sums are taken in double precision where the device has it.
    exact = images.to(torch.float32 if images.device.type == "mps" else torch.float64)
    rows = _matrix(method, images.shape[-2], size[0]).to(exact)
    columns = _matrix(method, images.shape[-1], size[1]).to(exact)
    # Pillow rounds after each of its two passes, columns first (newer releases sometimes swap them), and skips a pass
    # that changes nothing.
    if method.startswith("pil_"):
        across = exact if images.shape[-1] == size[1] else _round_half_up(exact @ columns.T)
        result = across if images.shape[-2] == size[0] else _round_half_up(rows @ across)
    else:
        result = rows @ exact @ columns.T
        if method == "skimage_cubic":  # clipped to the range of the image, then cut off by the cast to uint8
            low, high = exact.amin((-2, -1), keepdim=True), exact.amax((-2, -1), keepdim=True)
            result = torch.floor(result.clamp(low, high) + 1e-9)
        elif images.shape[-2] == 2 * size[0] and images.shape[-1] == 2 * size[1]:
            result = _round_half_up(result)  # OpenCV's short cut for halving
        else:
            result = torch.round(result)
    return result.to(images.dtype)


def axis_weights(method: str, n_in: int, n_out: int) -> np.ndarray:
    """The weights of one axis.

    Args:
        method: one of :data:`METHODS`.
        n_in: pixels before.
        n_out: pixels after.

    Returns:
        (n_out, n_in) float64; each row sums to 1.
    """
    if method == "pil_bicubic":
        return _pillow(n_in, n_out, _bicubic, 2.0)
    if method == "pil_bilinear":
        return _pillow(n_in, n_out, lambda x: max(0.0, 1.0 - abs(x)), 1.0)
    if method == "cv2_area":
        return _area(n_in, n_out) if n_out < n_in else _area_enlarge(n_in, n_out)
    return _spline(n_in, n_out)


@lru_cache(maxsize=16)
def _matrix(method: str, n_in: int, n_out: int) -> torch.Tensor:
    return torch.from_numpy(axis_weights(method, n_in, n_out))


def _round_half_up(x: torch.Tensor) -> torch.Tensor:
    return torch.floor(x + 0.5).clamp(0, 255)


def _bicubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _pillow(n_in: int, n_out: int, kernel, support: float) -> np.ndarray:
    """A kernel widened by the shrinking factor, as Pillow does against aliasing, in Pillow's fixed-point precision."""
    weights = np.zeros((n_out, n_in))
    scale = n_in / n_out
    width = max(scale, 1.0)
    for i in range(n_out):
        centre = (i + 0.5) * scale
        first = max(int(centre - support * width + 0.5), 0)
        last = min(int(centre + support * width + 0.5), n_in)
        row = np.array([kernel((k - centre + 0.5) / width) for k in range(first, last)])
        weights[i, first:last] = row / row.sum()
    one = 1 << _PILLOW_BITS
    return np.trunc(weights * one + np.copysign(0.5, weights)) / one


def _area(n_in: int, n_out: int) -> np.ndarray:
    """The share of each input pixel that lies inside the output pixel."""
    edges = np.arange(n_out + 1) * (n_in / n_out)
    pixel = np.arange(n_in)
    overlap = np.minimum(edges[1:, None], pixel[None] + 1) - np.maximum(edges[:-1, None], pixel[None])
    weights = np.clip(overlap, 0, None)
    return weights / weights.sum(1, keepdims=True)


def _area_enlarge(n_in: int, n_out: int) -> np.ndarray:
    """OpenCV's INTER_AREA when enlarging: linear between two pixels, but only across their border."""
    weights = np.zeros((n_out, n_in))
    scale, inverse = n_in / n_out, n_out / n_in
    for i in range(n_out):
        left = math.floor(i * scale)
        share = (i + 1) - (left + 1) * inverse
        share = 0.0 if share <= 0 else share - math.floor(share)
        if left >= n_in - 1:
            left, share = n_in - 1, 0.0
        weights[i, left] += 1 - share
        weights[i, min(left + 1, n_in - 1)] += share
    return weights


def _spline(n_in: int, n_out: int) -> np.ndarray:
    """scikit-image's ``resize(order=3, anti_aliasing=True)``: a Gaussian when shrinking, then a cubic B-spline."""
    from scipy import ndimage

    weights = np.empty((n_out, n_in))
    sigma = max(0.0, (n_in / n_out - 1) / 2)
    for first in range(0, n_in, 256):  # in strips: the whole unit matrix of a wide image would not fit
        columns = range(first, min(first + 256, n_in))
        unit = np.zeros((n_in, len(columns)))
        unit[columns, range(len(columns))] = 1.0
        if sigma:
            unit = ndimage.gaussian_filter1d(unit, sigma, axis=0, mode="mirror")
        strip = ndimage.zoom(unit, (n_out / n_in, 1), order=3, mode="mirror", grid_mode=True)
        weights[:, first : first + len(columns)] = strip
    return weights
