"""A cine as the page holds it: frames as WebP, masks as outlines, both as text."""

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
"""Characters that the frames of a cine may take on the page."""
LADDER = ((768, 82), (640, 80), (512, 80), (512, 68), (448, 62), (384, 58), (320, 52), (256, 45))
"""Longer side and WebP quality, the best first; a long cine goes down until it fits."""
SAMPLE = 6
FINE = 0.6
"""Outlines may lie this far from the border of a mask, in pixels of a 512 picture: less than a line is wide."""


@dataclass(frozen=True)
class Pictures:
    """Frames of a cine.

    Args:
        width, height: of the pictures, pixels.
        frames: base64 text of a WebP picture each.
    """

    width: int
    height: int
    frames: list[str] = field(repr=False)


def encode_frames(cine: Cine, budget: int = BUDGET) -> Pictures:
    """Frames as the page shows them, as large and as good as fits, blank outside the exposed field.

    Args:
        cine: the cine.
        budget: characters they may take together; a very long cine may take more, at the lowest step.

    Returns:
        The pictures.
    """
    rows, columns, total = cine.shape
    picked = sorted({round(k * (total - 1) / (SAMPLE - 1)) for k in range(SAMPLE)})
    field_mask = find_field(cine)  # what is written outside it may name the patient
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
    picture = resize_frame(to_grey8(frame, window), shape)
    done, data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise RuntimeError("a frame could not be written as WebP")
    return base64.b64encode(data.tobytes()).decode("ascii")


@dataclass(frozen=True)
class Outlines:
    """Outlines of masks as numbers: for each closed line the number of its points, then x and y of each.

    Args:
        data: base64 text of all numbers, int16, little endian, in pixels of the source.
        index: by structure, T + 1 rising positions: the numbers of frame t are ``data[index[t]:index[t + 1]]``.
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
    """Outlines of masks; holes are lines of their own, as the even-odd rule fills them.

    Args:
        masks: structures by name, (H, W, T) each.

    Returns:
        The outlines; structures that are nowhere seen are left out.
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
