"""Intermediate export as a small, compressed video, with enlarged compression blocks."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["through_video"]


def through_video(shown: np.ndarray, scale: float, quality: int) -> np.ndarray:
    """One frame after low-resolution export and rescaling to its original size.

    Args:
        shown: float32 (H, W) in [0, 1].
        scale: size of the export relative to the frame, at most 1.
        quality: JPEG quality 1..100 of the export; 0 for no export.

    Returns:
        float32 (H, W) in [0, 1], of 8-bit precision where exported.
    """
    if not quality:
        return shown
    rows, cols = shown.shape
    size = (max(16, round(cols * scale)), max(16, round(rows * scale)))
    small = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    code = cv2.imencode(".jpg", np.round(small * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    small = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
    return cv2.resize(small, (cols, rows), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
