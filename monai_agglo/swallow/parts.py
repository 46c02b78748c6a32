"""Removal of small components from masks; most structures are connected in a lateral projection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .structures import TARGETS, Structure

__all__ = ["keep_main_part", "keep_main_parts"]


def keep_main_parts(masks: np.ndarray, fraction: float, structures: Sequence[Structure] = TARGETS) -> np.ndarray:
    """Remove components much smaller than the largest one of the structure, frame by frame.

    Scattered structures (bolus and residue) are kept unchanged, because a drop in the airway must not be removed.

    Args:
        masks: uint8 (S, H, W, T), 0 or 1, one channel per structure; modified in place.
        fraction: smallest area of a kept component relative to the largest one, 0..1 (8-connectivity).
        structures: structures of the channels, in order.

    Returns:
        ``masks``.

    Raises:
        ValueError: the fraction is outside 0..1, or the number of channels differs from the structures.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of the largest component must be within 0 to 1, not {fraction}")
    if masks.ndim != 4 or len(masks) != len(structures):
        raise ValueError(f"masks must be ({len(structures)}, H, W, T), not {masks.shape}")
    for channel, structure in zip(masks, structures):
        if structure.scattered or fraction == 0:
            continue
        for t in np.flatnonzero(channel.any(axis=(0, 1))):
            frame = channel[..., t]
            rows, columns = np.flatnonzero(frame.any(1)), np.flatnonzero(frame.any(0))
            keep_main_part(frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], fraction)
    return masks


def keep_main_part(mask: np.ndarray, fraction: float) -> np.ndarray:
    """Remove components of one mask much smaller than the largest one.

    Args:
        mask: uint8 (H, W), 0 or 1; modified in place.
        fraction: as for :func:`keep_main_parts`.

    Returns:
        ``mask``.
    """
    import cv2

    if not mask.size:
        return mask  # OpenCV 5.0 crashes on an empty image
    found, labels, facts, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask), connectivity=8)
    areas = facts[1:, cv2.CC_STAT_AREA]
    if found > 2:
        small = areas < fraction * areas.max()
        if small.any():
            mask[np.concatenate([[False], small])[labels]] = 0
    return mask
