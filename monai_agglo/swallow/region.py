"""Sparse pixel list of a structure over all frames of a cine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

__all__ = ["Region"]


@dataclass(frozen=True)
class Region:
    """Pixels of a structure, sorted by frame.

    Measures are computed on the list of set pixels, for all frames at once: of the 26 million pixels of a
    512 x 512 x 100 mask a few percent are set.

    Args:
        shape: rows, columns, frames (H, W, T).
        t: (N,) frame of each pixel, ascending.
        points: (N, 2) float64 pixel centres as (x, y) = (column, row).
    """

    shape: tuple[int, int, int]
    t: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> Region:
        """Region of the non-zero pixels of a mask.

        Args:
            mask: (H, W, T), boolean or numeric.

        Returns:
            The region.

        Raises:
            ValueError: the mask does not have three axes.
        """
        mask = np.asarray(mask)
        if mask.ndim != 3:
            raise ValueError(f"a mask must have three axes (rows, columns, frames), not {mask.ndim}")
        mask = mask.view(bool) if mask.dtype == np.uint8 else mask.astype(bool, copy=False)
        rows, columns, frames = mask.shape
        if mask.strides[2] < max(mask.strides[:2]):  # frames innermost: one copy is cheaper than a pass per frame
            mask = np.ascontiguousarray(mask.transpose(2, 0, 1)).transpose(1, 2, 0)
        by_column = mask.strides[0] < mask.strides[1]
        width = rows if by_column else columns
        found = [np.flatnonzero((mask[..., t].T if by_column else mask[..., t]).ravel()) for t in range(frames)]
        t = np.repeat(np.arange(frames), [len(pixels) for pixels in found])
        slow, fast = np.divmod(np.concatenate(found) if frames else np.zeros(0, np.int64), width)
        points = np.stack([slow, fast] if by_column else [fast, slow], axis=-1).astype(np.float64)
        return cls((rows, columns, frames), t, points)

    @classmethod
    def empty(cls, shape: tuple[int, int, int]) -> Region:
        """An empty region.

        Args:
            shape: rows, columns, frames.

        Returns:
            The region.
        """
        return cls(shape, np.zeros(0, np.int64), np.zeros((0, 2)))

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.shape[2]

    @cached_property
    def starts(self) -> np.ndarray:
        """Index of each frame's first pixel, (T + 1,)."""
        return np.searchsorted(self.t, np.arange(self.frames + 1))

    @cached_property
    def areas(self) -> np.ndarray:
        """Pixels per frame, (T,) int64."""
        return np.diff(self.starts)

    @cached_property
    def centroids(self) -> np.ndarray:
        """Centroid per frame, (T, 2) as (x, y); nan in empty frames."""
        sums = [np.bincount(self.t, weights=self.points[:, k], minlength=self.frames) for k in (0, 1)]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack(sums, axis=-1) / self.areas[:, None]

    def select(self, keep: np.ndarray) -> Region:
        """Region of the pixels with a true value of ``keep`` (N,)."""
        return Region(self.shape, self.t[keep], self.points[keep])

    def inside(self, mask: np.ndarray) -> np.ndarray:
        """Test which pixels are inside a mask.

        Args:
            mask: (H, W, T).

        Returns:
            (N,) bool.
        """
        x, y = self.points.astype(np.int64).T
        return np.asarray(mask[y, x, self.t]).astype(bool)

    def reduce(self, values: np.ndarray, how: np.ufunc, empty: float = np.nan) -> np.ndarray:
        """Reduce pixel values to one value per frame.

        Args:
            values: (N,) value of each pixel.
            how: a NumPy ufunc such as ``np.maximum``.
            empty: value of empty frames.

        Returns:
            (T,) float64.
        """
        out = np.full(self.frames, empty)
        some = self.areas > 0
        if some.any():
            out[some] = how.reduceat(np.asarray(values, float), self.starts[:-1][some])
        return out

    def extreme(self, values: np.ndarray) -> np.ndarray:
        """Pixel with the largest value in each frame.

        Args:
            values: (N,) value of each pixel.

        Returns:
            (T, 2) pixel centres as (x, y), averaged over ties; nan in empty frames.
        """
        top = self.reduce(values, np.maximum)
        return self.select(values >= top[self.t] - 1e-9).centroids if len(self.t) else np.full((self.frames, 2), np.nan)

    def touches_edge(self) -> np.ndarray:
        """Frames in which the structure touches the image edge, (T,) bool."""
        limit = np.array([self.shape[1] - 1, self.shape[0] - 1])
        at = ((self.points <= 0) | (self.points >= limit)).any(axis=1)
        return np.bincount(self.t[at], minlength=self.frames) > 0

    def patches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Dense masks of the bounding box of each frame.

        Returns:
            Per frame a boolean (rows, columns) mask, empty for an empty frame, and the (x, y) of its first pixel.
        """
        found = []
        for first, last in zip(self.starts[:-1], self.starts[1:]):
            pixels = self.points[first:last].astype(np.int64)
            if not len(pixels):
                found.append((np.zeros((0, 0), bool), np.zeros(2, np.int64)))
                continue
            low = pixels.min(axis=0)
            size = pixels.max(axis=0) - low + 1
            patch = np.zeros((size[1], size[0]), bool)
            patch[pixels[:, 1] - low[1], pixels[:, 0] - low[0]] = True
            found.append((patch, low))
        return found

    def pieces(self, erode: int = 0) -> tuple[Region, np.ndarray]:
        """Connected components of each frame (8-connectivity).

        Args:
            erode: erosion in pixels before labelling, which breaks thin bridges.

        Returns:
            The eroded region, and the component of each pixel, (N,), numbered from 1 over the whole cine.
        """
        parts, labels, count = [], [], 0
        for t, (patch, low) in enumerate(self.patches()):
            if not patch.size:
                continue
            if erode:
                patch = ndimage.binary_erosion(patch, np.ones((3, 3), bool), iterations=erode)
            numbered, n = ndimage.label(patch, np.ones((3, 3), bool))
            y, x = np.nonzero(numbered)
            parts.append(np.stack([np.full(len(x), t), x + low[0], y + low[1]], axis=-1))
            labels.append(numbered[y, x] + count)
            count += n
        if not parts:
            return Region.empty(self.shape), np.zeros(0, np.int64)
        pixels = np.concatenate(parts)
        return Region(self.shape, pixels[:, 0], pixels[:, 1:].astype(float)), np.concatenate(labels)

    def largest_piece(self) -> Region:
        """Largest connected component of each frame; of two of equal size the first."""
        region, label = self.pieces()
        if not len(label):
            return region
        size = np.bincount(label)[label].astype(float)
        best = region.reduce(size, np.maximum)[region.t]

        first = region.reduce(np.where(size == best, -label, -np.inf), np.maximum)[region.t]
        return region.select(label == -first)
