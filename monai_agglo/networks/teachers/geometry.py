"""Where a teacher's feature grid lies in the frame: squash, letterbox or padded square, as an affine and a mask.

Coordinates are array indices (row, column) with pixel centres at whole numbers. A grid cell (i, j) lies at
``affine @ (i, j, 1)`` in the frame, so maps of teachers that squash, crop or pad can be compared in one place.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F

__all__ = ["GEOMETRIES", "FrameGrid", "TeacherFeatures", "sample_on_frame"]

GEOMETRIES = ("squash", "letterbox", "pad_square")


class TeacherFeatures(NamedTuple):
    """What a teacher gives for a batch of frames of one size.

    Attributes:
        features: (B, C, h, w) patch features.
        affine: (3, 3), grid (row, column, 1) to frame (row, column, 1), in pixels.
        mask: (1, 1, h, w) in [0, 1], the share of each cell that shows the frame and not padding.
    """

    features: torch.Tensor
    affine: torch.Tensor
    mask: torch.Tensor


class FrameGrid(NamedTuple):
    """How one frame size is fitted into a teacher's square input.

    - ``squash``: rows and columns are scaled apart; the aspect ratio is lost, nothing is cut or padded.
    - ``letterbox``: the longer side fills the square, padding below or to the right (the SAM family).
    - ``pad_square``: padded evenly to a square with black before scaling (instead of a centre crop, which cuts).

    Attributes:
        frame: rows and columns of the frame.
        padding: rows and columns of black put before the frame (``pad_square`` only), in frame pixels.
        padded: rows and columns of what is resized (the frame, or the square around it).
        content: rows and columns it is resized to; less than ``size`` only for ``letterbox``.
        size: side of the teacher's square input.
    """

    frame: tuple[int, int]
    padding: tuple[int, int]
    padded: tuple[int, int]
    content: tuple[int, int]
    size: int

    @classmethod
    def fit(cls, frame: tuple[int, int], geometry: str, size: int, min_side: int = 0) -> FrameGrid:
        """Fit a frame into a square.

        Args:
            frame: rows and columns.
            geometry: one of :data:`GEOMETRIES`.
            size: side of the square.
            min_side: for ``pad_square``, the least side of the padded square in frame pixels.

        Returns:
            The fit.

        Raises:
            ValueError: for an unknown geometry.
        """
        rows, columns = frame
        if geometry == "squash":
            return cls((rows, columns), (0, 0), (rows, columns), (size, size), size)
        if geometry == "letterbox":
            scale = size / max(rows, columns)
            content = (max(1, int(rows * scale + 0.5)), max(1, int(columns * scale + 0.5)))
            return cls((rows, columns), (0, 0), (rows, columns), content, size)
        if geometry == "pad_square":
            side = max(rows, columns, min_side)
            padding = ((side - rows) // 2, (side - columns) // 2)
            return cls((rows, columns), padding, (side, side), (size, size), size)
        raise ValueError(f"unknown geometry {geometry!r}; known are {', '.join(GEOMETRIES)}")

    def pad(self, images: torch.Tensor) -> torch.Tensor:
        """Put black around (B, 1, H, W) images, before resizing."""
        rows, columns = self.padding
        below, right = self.padded[0] - self.frame[0] - rows, self.padded[1] - self.frame[1] - columns
        return F.pad(images, (columns, right, rows, below)) if any((rows, columns, below, right)) else images

    def fill(self, pixels: torch.Tensor) -> torch.Tensor:
        """Put zeros below and to the right of resized and normalised (B, C, rows, columns) pixels, up to the square."""
        return F.pad(pixels, (0, self.size - self.content[1], 0, self.size - self.content[0]))

    def affine(self, grid: int, device: torch.device | None = None) -> torch.Tensor:
        """The (3, 3) affine from a square grid of this many cells a side to the frame, see the module's docstring."""
        result = torch.eye(3, dtype=torch.float64)
        for axis in (0, 1):
            step = self.size / grid * self.padded[axis] / self.content[axis]
            result[axis, axis] = step
            result[axis, 2] = 0.5 * step - 0.5 - self.padding[axis]
        return result.to(device=device, dtype=torch.float32)

    def mask(self, grid: int, device: torch.device | None = None) -> torch.Tensor:
        """(1, 1, grid, grid) in [0, 1]: the share of each cell that shows the frame."""
        shares = []
        for axis in (0, 1):
            step = self.size / grid * self.padded[axis] / self.content[axis]
            edges = torch.arange(grid + 1, dtype=torch.float64) * step - self.padding[axis]
            inside = edges.clamp(0, self.frame[axis])
            shares.append((inside[1:] - inside[:-1]) / step)
        return torch.outer(*shares)[None, None].clamp(0, 1).to(device=device, dtype=torch.float32)

    def to_input(self, points: torch.Tensor) -> torch.Tensor:
        """Points (..., 2) as (x, y) in frame pixels to (x, y) in pixels of the teacher's input.

        Pixel positions are taken as the SAM family takes them: scaled from the corner, pixel centres at whole numbers
        on both sides.
        """
        scale = points.new_tensor([self.content[1] / self.padded[1], self.content[0] / self.padded[0]])
        return (points + points.new_tensor([self.padding[1], self.padding[0]])) * scale


def sample_on_frame(
    output: TeacherFeatures, frame: tuple[int, int], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resample a teacher's map to a grid laid evenly over the frame, the common ground of all teachers.

    Args:
        output: what the teacher gave.
        frame: rows and columns of the frame.
        size: rows and columns of the wanted grid.

    Returns:
        Features (B, C, rows, columns), bilinear, and the mask (1, 1, rows, columns) in [0, 1] sampled alike.
    """
    features, affine, mask = output
    axes = []
    for axis in (0, 1):
        centre = (torch.arange(size[axis], dtype=torch.float64) + 0.5) * frame[axis] / size[axis] - 0.5
        step, start = float(affine[axis, axis]), float(affine[axis, 2])
        axes.append((2 * (centre - start) / step + 1) / features.shape[2 + axis] - 1)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    where = torch.stack([columns, rows], -1)[None].to(features)
    sampled = F.grid_sample(
        features, where.expand(len(features), -1, -1, -1), align_corners=False, padding_mode="border"
    )
    return sampled, F.grid_sample(mask.to(features), where, align_corners=False, padding_mode="border")
