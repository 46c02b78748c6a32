"""A random window of a frame as the student's input: the teachers' features stay, and where they lie follows.

Teachers are run once over whole frames, so a frame cannot be turned or bent afterwards. But a student may see a part of
it, larger, or all of it, smaller, and be compared with the cells of the teachers that lie in what it sees. With few
frames that are seen many times this keeps a student from learning them by heart.
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
"""Standard deviation of the blur before a picture is made smaller, per pixel of the step: few aliases."""


class FrameWindow(NamedTuple):
    """Part of a square that is scaled to the size of the square.

    Attributes:
        step: pixels of the square per pixel of the window; below 1 the window is magnified.
        row: place of the window's first row in the square, pixels.
        column: of its first column.
        size: side of the square, and of the window once it is scaled, pixels.
    """

    step: float
    row: float
    column: float
    size: int

    @classmethod
    def draw(
        cls, rng: np.random.Generator, content: tuple[int, int], size: int, zoom: tuple[float, float]
    ) -> FrameWindow:
        """A random window: as much of the frame as fits, anywhere in it, or around it where the window is larger.

        Args:
            rng: decides.
            content: rows and columns of the square that show the frame, from the first ones on.
            size: side of the square.
            zoom: least and largest magnification; its logarithm is uniform.

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
        """What the window shows.

        Args:
            square: (size, size), uint8 or float32.
            fill: of what lies outside of the square.

        Returns:
            (size, size) of the same type, bilinear.
        """
        place = self.affine.numpy()
        across = np.array([[self.step, 0, place[1, 2]], [0, self.step, place[0, 2]]])  # OpenCV counts columns first
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
        """Cells of a map whose centres the window shows.

        Args:
            cells: (3, 3), cell (row, column, 1) of the map to pixel of the window; it scales and shifts only.
            shape: rows and columns of the map.

        Returns:
            Boolean, of that shape.
        """
        inside = []
        for axis in (0, 1):
            place = cells[axis, axis] * torch.arange(shape[axis]) + cells[axis, 2]
            inside.append((place >= -0.5) & (place <= self.size - 0.5))
        return inside[0][:, None] & inside[1][None]
