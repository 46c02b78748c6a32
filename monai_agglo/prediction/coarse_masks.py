"""From coarse logits to masks: scaled up only where a structure is, which gives the very same pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from monai_agglo.prediction.runtimes.frame_network import CoarseLogits
from monai_agglo.swallow import TARGETS, Structure
from monai_agglo.swallow.parts import keep_main_part

__all__ = ["cut_masks", "glimpses"]


def cut_masks(
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


def glimpses(coarse: CoarseLogits, count: int, shape: tuple[int, int], side: int) -> np.ndarray:
    """Probabilities averaged down to small maps.

    Args:
        coarse: logits of N frames.
        count: structures.
        shape: rows and columns of the frames.
        side: largest side of the maps, in pixels.

    Returns:
        (N, count, h, w) float32 in 0..1.
    """
    number, fold = len(coarse.values), coarse.fold
    pool = max(1, -(-max(shape) // side))  # pixels of the frame per pixel of the map
    step, odd = divmod(pool, coarse.scale)
    if step == 0 or odd:  # the maps are finer than the logits, or do not lie on their grid
        full = torch.nn.functional.pixel_shuffle(torch.from_numpy(coarse.values), fold)
        if coarse.scale > 1:
            full = torch.nn.functional.interpolate(full, scale_factor=coarse.scale, mode="bilinear")
        full = full[..., : shape[0], : shape[1]].sigmoid()
        return torch.nn.functional.avg_pool2d(full, pool, ceil_mode=True).numpy()
    whole = step % fold != 0
    parts = np.empty(coarse.values.shape if whole else (number, count, *coarse.values.shape[-2:]), np.float32)
    for part, values in zip(parts, coarse.values):  # a frame at a time stays in the processor's cache
        maps = np.negative(values)  # NumPy: no threads of its own, this runs in several threads already
        np.exp(np.minimum(maps, 80, out=maps), out=maps)
        maps += 1
        np.reciprocal(maps, out=maps)
        # the mean of a block needs no pixel to be moved
        part[:] = maps if whole else maps.reshape(count, fold * fold, *maps.shape[-2:]).mean(axis=1)
    maps = parts
    if whole:
        maps = torch.nn.functional.pixel_shuffle(torch.from_numpy(maps), fold).numpy()
    else:
        step //= fold
    if step > 1:
        maps = torch.nn.functional.avg_pool2d(torch.from_numpy(maps), step, ceil_mode=True).numpy()
    return np.ascontiguousarray(maps[..., : -(-shape[0] // pool), : -(-shape[1] // pool)])
