"""Masks from coarse logits: only the bounding box of each structure is upsampled, with identical pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from monai_agglo.prediction.runtimes.frame_runtime import CoarseLogits
from monai_agglo.swallow import TARGETS, Structure
from monai_agglo.swallow.parts import keep_main_part

__all__ = ["lowres_probabilities", "threshold_masks"]


def threshold_masks(
    logits: np.ndarray,
    fold: int,
    scale: int,
    shape: tuple[int, int],
    cut: float,
    main_parts: float = 0.0,
    structures: Sequence[Structure] = TARGETS,
) -> np.ndarray:
    """Masks of one frame.

    A pixel between logits is above the cut only where one of them is (linear interpolation never overshoots), so each
    structure is scaled up in its own rectangle, with a margin; the rest is empty.

    Args:
        logits: (S * fold * fold, h, w), see :class:`~.runtimes.CoarseLogits`.
        fold: side of the block of logits per position.
        scale: pixels per logit.
        shape: rows and columns of the frame; what lies beyond was padding.
        cut: logit above which a structure is present.
        main_parts: see :func:`~monai_agglo.swallow.keep_main_parts`.
        structures: what each channel is.

    Returns:
        (S, rows, columns) uint8 of 0 and 1.
    """
    count = len(structures)
    blocks = logits.reshape(count, fold, fold, *logits.shape[-2:])
    hot = blocks.max(axis=(1, 2)) > cut
    down, across = hot.any(axis=2), hot.any(axis=1)
    pitch = fold * scale
    masks = np.zeros((count, *shape), np.uint8)
    for channel, structure in enumerate(structures):
        rows, columns = np.flatnonzero(down[channel]), np.flatnonzero(across[channel])
        if not len(rows):
            continue
        top, left = max(0, rows[0] - 1), max(0, columns[0] - 1)
        bottom, right = min(hot.shape[1], rows[-1] + 2), min(hot.shape[2], columns[-1] + 2)
        part = blocks[channel, :, :, top:bottom, left:right].transpose(2, 0, 3, 1)
        part = np.ascontiguousarray(part).reshape((bottom - top) * fold, (right - left) * fold)
        if scale > 1:
            part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        target = masks[channel, top * pitch : bottom * pitch, left * pitch : right * pitch]
        target[:] = part[: target.shape[0], : target.shape[1]] > cut
        if main_parts and not structure.scattered:
            keep_main_part(target, main_parts)
    return masks


def lowres_probabilities(coarse: CoarseLogits, count: int, shape: tuple[int, int], side: int) -> np.ndarray:
    """Probabilities averaged down to small maps.

    Args:
        coarse: logits of N frames.
        count: number of structures.
        shape: rows and columns of the frames.
        side: largest side of the maps, in pixels.

    Returns:
        (N, count, h, w) float32 in 0..1.
    """
    fold = coarse.fold
    pool = max(1, -(-max(shape) // side))  # pixels of the frame per pixel of the map
    step, odd = divmod(pool, coarse.scale)
    if step == 0 or odd:  # the maps are finer than the logits, or do not lie on their grid
        full = _unfold(coarse.values, fold)
        if coarse.scale > 1:
            full = np.stack([[_upsample(plane, coarse.scale) for plane in frame] for frame in full])
        return _mean_pool(_sigmoid(full[..., : shape[0], : shape[1]]), pool)
    whole = step % fold != 0
    number, channels = len(coarse.values), coarse.values.shape[1] if whole else count
    maps = np.empty((number, channels, *coarse.values.shape[-2:]), np.float32)
    for part, values in zip(maps, coarse.values):  # a frame at a time stays in the processor's cache
        found = _sigmoid(values)
        # the mean of a block needs no pixel to be moved
        part[:] = found if whole else found.reshape(count, fold * fold, *found.shape[-2:]).mean(axis=1)
    if whole:
        maps = _unfold(maps, fold)
    else:
        step //= fold
    if step > 1:
        maps = _mean_pool(maps, step)
    return np.ascontiguousarray(maps[..., : -(-shape[0] // pool), : -(-shape[1] // pool)])


def _sigmoid(values: np.ndarray) -> np.ndarray:
    """NumPy: no threads of its own, since this runs in several threads already."""
    maps = np.negative(values)
    np.exp(np.minimum(maps, 80, out=maps), out=maps)
    maps += 1
    return np.reciprocal(maps, out=maps)


def _unfold(values: np.ndarray, fold: int) -> np.ndarray:
    """Sub-pixel rearrangement: (N, S * fold * fold, h, w) to (N, S, h * fold, w * fold)."""
    number, channels, rows, columns = values.shape
    blocks = values.reshape(number, channels // fold**2, fold, fold, rows, columns).transpose(0, 1, 4, 2, 5, 3)
    return np.ascontiguousarray(blocks).reshape(number, channels // fold**2, rows * fold, columns * fold)


def _upsample(plane: np.ndarray, scale: int) -> np.ndarray:
    return cv2.resize(plane, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


def _mean_pool(maps: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks of ``step`` x ``step`` pixels; blocks at the far borders may be smaller."""
    for axis in (-2, -1):
        starts = np.arange(0, maps.shape[axis], step)
        sizes = np.diff(np.append(starts, maps.shape[axis])).astype(np.float32)
        maps = np.add.reduceat(maps, starts, axis=axis) / (sizes[:, None] if axis == -2 else sizes)
    return maps
