"""Random window of a frame as the student's input, with the matching cells of the cached teacher features.

Cached features are valid for whole, unrotated and undeformed frames only. Cropping and scaling remain possible: the
loss uses the teacher cells inside the window. With few frames and many epochs this reduces overfitting.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch

from .zoom import checked_zoom, describe_zoom

__all__ = ["FrameWindow", "checked_zoom", "describe_zoom"]

BLUR = 0.35
"""Standard deviation of the anti-aliasing blur before downsampling, per pixel of the step."""


class FrameWindow(NamedTuple):
    """Part of a square input, rescaled to the size of the square.

    Attributes:
        step: pixels of the square per pixel of the window; below 1 the window is magnified.
        row: first row of the window in the square, pixels.
        column: first column of the window in the square, pixels.
        size: side of the square and of the rescaled window, pixels.
    """

    step: float
    row: float
    column: float
    size: int

    @classmethod
    def draw(
        cls, rng: np.random.Generator, content: tuple[int, int], size: int, zoom: tuple[float, float]
    ) -> FrameWindow:
        """Draw a random window inside the frame, or around it if the window is larger than the frame.

        Args:
            rng: random generator.
            content: number of leading rows and columns of the square that show the frame.
            size: side of the square.
            zoom: smallest and largest zoom factor; drawn log-uniformly.

        Returns:
            The window.
        """
        step = math.exp(-rng.uniform(math.log(zoom[0]), math.log(zoom[1])))
        row, column = (float(rng.uniform(*sorted((0.0, side - step * size)))) for side in content)
        return cls(step, row, column, size)

    @property
    def affine(self) -> torch.Tensor:
        """(3, 3) float64, pixel (row, column, 1) of the window to pixel of the square."""
        middle = (self.step - 1) / 2
        rows = [[self.step, 0, self.row + middle], [0, self.step, self.column + middle], [0, 0, 1]]
        return torch.tensor(rows, dtype=torch.float64)

    def cut(self, square: np.ndarray, fill: float) -> np.ndarray:
        """Crop and rescale.

        Args:
            square: (size, size), uint8 or float32.
            fill: value outside of the square.

        Returns:
            (size, size) of the same type, bilinearly interpolated.
        """
        place = self.affine.numpy()
        across = np.array([[self.step, 0, place[1, 2]], [0, self.step, place[0, 2]]])  # OpenCV: column first
        if self.step > 1:
            square = cv2.GaussianBlur(square, (0, 0), BLUR * self.step, borderType=cv2.BORDER_REPLICATE)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            square, across, (self.size, self.size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
        )

    def shown(self, content: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of the window that show the frame.

        Args:
            content: see :meth:`draw`.

        Returns:
            Two slices, possibly empty.
        """
        slices = []
        for start, side in zip((self.row, self.column), content):
            first, last = (-start / self.step, (side - start) / self.step)
            slices.append(slice(max(0, math.ceil(first - 1e-9)), max(0, min(self.size, math.floor(last + 1e-9)))))
        return slices[0], slices[1]

    def sees(self, cells: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Cells of a map with their centre inside the window.

        Args:
            cells: (3, 3), cell (row, column, 1) of the map to pixel of the window; scale and translation only.
            shape: rows and columns of the map.

        Returns:
            Boolean, of that shape.
        """
        inside = []
        for axis in (0, 1):
            place = cells[axis, axis] * torch.arange(shape[axis]) + cells[axis, 2]
            inside.append((place >= -0.5) & (place <= self.size - 0.5))
        return inside[0][:, None] & inside[1][None]
