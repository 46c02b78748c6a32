"""Stray islands out of masks: most structures are one connected body in a lateral projection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .structures import TARGETS, Structure

__all__ = ["keep_main_part", "keep_main_parts"]


def keep_main_parts(masks: np.ndarray, fraction: float, structures: Sequence[Structure] = TARGETS) -> np.ndarray:
    """Erase the parts of a structure that are much smaller than its largest part, frame by frame.

    Structures that may lie in several places (the bolus and its residue) are left as they are: a drop in the airway
    must never be tidied away.

    Args:
        masks: uint8 (S, H, W, T), 0 or 1, one channel per structure; changed in place.
        fraction: parts with less than this fraction of the area of the largest one go, 0..1; parts that touch at a
            corner are one.
        structures: what each channel is, in order.

    Returns:
        ``masks``.

    Raises:
        ValueError: when the fraction is not within 0..1, or the channels are not the structures.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of the largest part is within 0 to 1, not {fraction}")
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
    """Erase the parts of one mask that are much smaller than its largest part.

    Args:
        mask: uint8 (H, W), 0 or 1; changed in place.
        fraction: as for :func:`keep_main_parts`.

    Returns:
        ``mask``.
    """
    import cv2

    if not mask.size:
        return mask  # OpenCV 5.0 ends the process for an empty picture
    found, labels, facts, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask), connectivity=8)
    areas = facts[1:, cv2.CC_STAT_AREA]
    if found > 2:
        small = areas < fraction * areas.max()
        if small.any():
            mask[np.concatenate([[False], small])[labels]] = 0
    return mask
