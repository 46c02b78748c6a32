"""The pixels of one structure in every frame of a cine, sparse: what all measures are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

__all__ = ["Region"]


@dataclass(frozen=True)
class Region:
    """Pixels of a structure, sorted by frame.

    A study of 512 x 512 x 100 has 26 million pixels per structure, of which a few per cent are set: every measure works
    on the list of set pixels, for all frames at once.

    Args:
        shape: rows, columns, frames (H, W, T).
        t: frame of each pixel, (N,), rising.
        points: (N, 2) float64 pixel centres as (x, y) = (column, row).
    """

    shape: tuple[int, int, int]
    t: np.ndarray
    points: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> Region:
        """The set pixels of a mask.

        Args:
            mask: (H, W, T), boolean or 0 and another number.

        Returns:
            Its region.

        Raises:
            ValueError: when the mask has not three axes.
        """
        mask = np.asarray(mask)
        if mask.ndim != 3:
            raise ValueError(f"a mask over time has three axes (rows, columns, frames), not {mask.ndim}")
        mask = mask.view(bool) if mask.dtype == np.uint8 else mask.astype(bool, copy=False)
        rows, columns, frames = mask.shape
        if mask.strides[2] < max(mask.strides[:2]):  # frames innermost: one pass now is cheaper than one per frame
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
        """A region without pixels.

        Args:
            shape: rows, columns, frames.
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
        """Mean pixel per frame, (T, 2); nan where the frame has none."""
        sums = [np.bincount(self.t, weights=self.points[:, k], minlength=self.frames) for k in (0, 1)]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack(sums, axis=-1) / self.areas[:, None]

    def select(self, keep: np.ndarray) -> Region:
        """The pixels for which ``keep`` (N,) is true."""
        return Region(self.shape, self.t[keep], self.points[keep])

    def inside(self, mask: np.ndarray) -> np.ndarray:
        """Which pixels lie in another mask.

        Args:
            mask: (H, W, T).

        Returns:
            (N,) bool.
        """
        x, y = self.points.astype(np.int64).T
        return np.asarray(mask[y, x, self.t]).astype(bool)

    def reduce(self, values: np.ndarray, how: np.ufunc, empty: float = np.nan) -> np.ndarray:
        """One number per frame from one value per pixel.

        Args:
            values: (N,) value of each pixel.
            how: a numpy ufunc such as ``np.maximum``.
            empty: what a frame without pixels gets.

        Returns:
            (T,) float64.
        """
        out = np.full(self.frames, empty)
        some = self.areas > 0
        if some.any():
            out[some] = how.reduceat(np.asarray(values, float), self.starts[:-1][some])
        return out

    def extreme(self, values: np.ndarray) -> np.ndarray:
        """The pixel with the largest value in each frame.

        Args:
            values: (N,) value of each pixel.

        Returns:
            (T, 2) pixel centres; the mean where several share the value; nan where the frame has no pixel.
        """
        top = self.reduce(values, np.maximum)
        return self.select(values >= top[self.t] - 1e-9).centroids if len(self.t) else np.full((self.frames, 2), np.nan)

    def touches_edge(self) -> np.ndarray:
        """Frames in which the structure reaches the edge of the picture, (T,) bool."""
        limit = np.array([self.shape[1] - 1, self.shape[0] - 1])
        at = ((self.points <= 0) | (self.points >= limit)).any(axis=1)
        return np.bincount(self.t[at], minlength=self.frames) > 0

    def patches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each frame's pixels as a small dense picture.

        Returns:
            For each frame the boolean picture and its (x, y) of the first column and row; a frame without pixels gives
            an empty picture.
        """
        found = []
        for first, last in zip(self.starts[:-1], self.starts[1:]):
            pixels = self.points[first:last].astype(np.int64)
            if not len(pixels):
                found.append((np.zeros((0, 0), bool), np.zeros(2, np.int64)))
                continue
            low = pixels.min(axis=0)
            size = pixels.max(axis=0) - low + 1
            picture = np.zeros((size[1], size[0]), bool)
            picture[pixels[:, 1] - low[1], pixels[:, 0] - low[0]] = True
            found.append((picture, low))
        return found

    def pieces(self, erode: int = 0) -> tuple[Region, np.ndarray]:
        """Connected pieces (8 neighbours) of each frame.

        Args:
            erode: peel off this many pixels first, so that thin bridges do not join what they connect.

        Returns:
            The region that is left, and the number of its piece for each pixel, (N,), counted from 1 through the cine.
        """
        parts, labels, count = [], [], 0
        for t, (picture, low) in enumerate(self.patches()):
            if not picture.size:
                continue
            if erode:
                picture = ndimage.binary_erosion(picture, np.ones((3, 3), bool), iterations=erode)
            numbered, n = ndimage.label(picture, np.ones((3, 3), bool))
            y, x = np.nonzero(numbered)
            parts.append(np.stack([np.full(len(x), t), x + low[0], y + low[1]], axis=-1))
            labels.append(numbered[y, x] + count)
            count += n
        if not parts:
            return Region.empty(self.shape), np.zeros(0, np.int64)
        pixels = np.concatenate(parts)
        return Region(self.shape, pixels[:, 0], pixels[:, 1:].astype(float)), np.concatenate(labels)

    def largest_piece(self) -> Region:
        """Only the largest connected piece of each frame: a stray speck moves no landmark."""
        region, label = self.pieces()
        if not len(label):
            return region
        size = np.bincount(label)[label].astype(float)
        best = region.reduce(size, np.maximum)[region.t]
        # of two pieces of one size the first
        first = region.reduce(np.where(size == best, -label, -np.inf), np.maximum)[region.t]
        return region.select(label == -first)
