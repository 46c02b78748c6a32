"""Exposed field as DICOM collimator shapes: circle, rectangle, or their intersection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["FieldShape"]


@dataclass(frozen=True)
class FieldShape:
    """Exposed part of an image in pixels: the intersection of all shapes not None.

    Args:
        circle: (row, column, radius) of the centre, 0-based, pixels.
        rectangle: (first row, end row, first column, end column), 0-based, ends exclusive.
    """

    circle: tuple[float, float, float] | None = None
    rectangle: tuple[int, int, int, int] | None = None

    @classmethod
    def from_mask(cls, mask: np.ndarray) -> FieldShape | None:
        """Detect the shape of a field.

        Args:
            mask: bool (H, W), True where exposed.

        Returns:
            The shape, or None if all or nothing is exposed.
        """
        mask = np.asarray(mask, bool)
        if mask.all() or not mask.any():
            return None
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1)
        centre = _circle_of_arcs(mask, box)
        if centre is None:
            return cls(rectangle=box)
        # edge pixels lie up to one pixel inside the circle: best-fitting radius
        circles = [cls(circle=(*centre[:2], centre[2] + step)) for step in np.arange(0, 1.01, 0.25)]
        circle = max(circles, key=lambda shape: shape.overlap(mask))
        both = cls(circle=circle.circle, rectangle=box)
        return both if both.overlap(mask) > circle.overlap(mask) + 0.003 else circle

    def overlap(self, mask: np.ndarray) -> float:
        """Intersection over union with a mask, 0..1."""
        own = self.mask(mask.shape)
        return float(np.count_nonzero(own & mask) / np.count_nonzero(own | mask))

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """The field as a mask.

        Args:
            shape: (H, W).

        Returns:
            bool (H, W), True where exposed.
        """
        out = np.ones(shape, bool)
        if self.circle is not None:
            row, column, radius = self.circle
            y, x = np.ogrid[: shape[0], : shape[1]]
            out &= (y - row) ** 2 + (x - column) ** 2 <= radius**2
        if self.rectangle is not None:
            top, bottom, left, right = self.rectangle
            inside = np.zeros(shape, bool)
            inside[top:bottom, left:right] = True
            out &= inside
        return out


def _circle_of_arcs(mask: np.ndarray, box: tuple[int, int, int, int]) -> tuple[float, float, float] | None:
    """Least-squares circle through the edge outside of the bounding box sides; None without such an arc."""
    top, bottom, left, right = box
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    y, x = np.nonzero(mask & ~inner)
    arc = (y > top) & (y < bottom - 1) & (x > left) & (x < right - 1)
    y, x = y[arc].astype(float), x[arc].astype(float)
    if len(y) < 8:
        return None
    system = np.stack([2 * y, 2 * x, np.ones_like(y)], 1)
    row, column, constant = np.linalg.lstsq(system, y**2 + x**2, rcond=None)[0]
    return float(row), float(column), float(np.sqrt(max(constant + row**2 + column**2, 0.0)))
