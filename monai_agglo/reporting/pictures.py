"""Frames (WebP) and mask outlines of the report page, as base64 text."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from monai_agglo.cine.cine import Cine
from monai_agglo.cine.exposed_field import blank_outside, find_field
from monai_agglo.cine.intensity import exposed_range
from monai_agglo.pictures.drawing import display_window, fit_to_side, resize_frame, to_grey8

__all__ = ["BUDGET", "Outlines", "Pictures", "encode_frames", "outline_masks"]

BUDGET = 9_000_000
"""Largest total size of the frames on the page, characters."""
LADDER = ((768, 82), (640, 80), (512, 80), (512, 68), (448, 62), (384, 58), (320, 52), (256, 45))
"""Longer side in pixels and WebP quality, best first; a long cine takes the first step within the budget."""
SAMPLE = 6
"""Frames used to estimate size and intensity range."""
FINE = 0.6
"""Largest deviation of an outline from the mask border, in pixels of a 512-pixel image."""


@dataclass(frozen=True)
class Pictures:
    """Encoded frames of a cine.

    Args:
        width: image width in pixels.
        height: image height in pixels.
        frames: base64 text of one WebP image per frame.
    """

    width: int
    height: int
    frames: list[str] = field(repr=False)


def encode_frames(cine: Cine, budget: int = BUDGET) -> Pictures:
    """Encode frames for the page at the best size and quality within the budget, blanked outside the exposed field.

    Args:
        cine: the cine.
        budget: largest total size in characters; a very long cine may exceed it at the lowest quality.

    Returns:
        The encoded frames.
    """
    rows, columns, total = cine.shape
    picked = sorted({round(k * (total - 1) / (SAMPLE - 1)) for k in range(SAMPLE)})
    field_mask = find_field(cine)  # burnt-in text outside may identify the patient
    sample = [np.asarray(frame) for frame in blank_outside(cine.frames(picked), field_mask)]
    low, high = exposed_range(np.stack(sample))
    window = (low, high) if high > low else display_window(sample[0])
    side, quality = LADDER[-1]
    for side, quality in LADDER:
        if side < min(256, max(rows, columns)):
            break
        shape = fit_to_side((rows, columns), 1, side)
        mean = np.mean([len(_webp(frame, window, shape, quality)) for frame in sample])
        if mean * total <= budget:
            break
    shape = fit_to_side((rows, columns), 1, side)
    frames = [_webp(frame, window, shape, quality) for frame in blank_outside(cine.frames(), field_mask)]
    return Pictures(shape[1], shape[0], frames)


def _webp(frame: np.ndarray, window: tuple[float, float], shape: tuple[int, int], quality: int) -> str:
    image = resize_frame(to_grey8(frame, window), shape)
    done, data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise RuntimeError("a frame could not be encoded as WebP")
    return base64.b64encode(data.tobytes()).decode("ascii")


@dataclass(frozen=True)
class Outlines:
    """Outlines of masks as numbers: per closed line the number of points, then x and y of each point.

    Args:
        data: base64 text of all numbers, int16 little endian, in source pixels.
        index: per structure T + 1 ascending positions: frame t is ``data[index[t]:index[t + 1]]``.
    """

    data: str = field(repr=False)
    index: dict[str, list[int]] = field(repr=False)

    def lines(self, name: str, frame: int) -> list[np.ndarray]:
        """Closed lines of a structure in a frame, (N, 2) as (x, y) each."""
        numbers = np.frombuffer(base64.b64decode(self.data), "<i2")
        position, end = self.index[name][frame : frame + 2]
        found = []
        while position < end:
            points = int(numbers[position])
            found.append(numbers[position + 1 : position + 1 + 2 * points].reshape(-1, 2))
            position += 1 + 2 * points
        return found


def outline_masks(masks: Mapping[str, np.ndarray]) -> Outlines:
    """Trace the outlines of masks; holes are separate lines (even-odd fill rule).

    Args:
        masks: masks by structure name, (H, W, T) each.

    Returns:
        The outlines, without empty structures.
    """
    parts: list[np.ndarray] = []
    index: dict[str, list[int]] = {}
    position = 0
    for name, mask in masks.items():
        rows, columns, frames = mask.shape
        fine = FINE * max(1.0, max(rows, columns) / 512)
        positions = [position]
        for t in range(frames):
            frame = np.ascontiguousarray(mask[..., t]).astype(np.uint8, copy=False)
            if frame.any():
                for line in cv2.findContours(frame, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]:
                    short = cv2.approxPolyDP(line, fine, True) if len(line) > 8 else line
                    part = np.concatenate([[len(short)], short.reshape(-1)]).astype("<i2")
                    parts.append(part)
                    position += len(part)
            positions.append(position)
        if position > positions[0]:
            index[name] = positions
    blob = np.concatenate(parts) if parts else np.zeros(0, "<i2")
    return Outlines(base64.b64encode(blob.astype("<i2").tobytes()).decode("ascii"), index)
