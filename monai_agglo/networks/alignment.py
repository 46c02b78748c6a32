"""Resampling of the student's map to a teacher's grid.

Student and teachers fit a frame into their inputs differently (squashed, letterboxed, padded or cropped), so the
student's map is resampled through frame coordinates before features are compared. Affines are those of
:class:`~.teachers.geometry.TeacherFeatures`: grid (row, column, 1) to frame (row, column, 1), in pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

__all__ = ["MOST_KNOWN", "GridMove", "cell_weights", "student_affine", "to_teacher_grid"]

MOST_KNOWN = 256
"""Maximum number of cached moves of about 10 kB each."""
_CLOSE = 1e-5  # of a cell: affines are stored in single precision
_NARROW = 1e-2  # cells: below, the average of a cell is its middle


def student_affine(
    frame: tuple[int, int], content: tuple[int, int], stride: float, padding: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Affine of a student's map in a frame that was resized and padded, square or not.

    Args:
        frame: rows and columns of the frame.
        content: rows and columns after resizing.
        stride: input pixels per cell of the student's map.
        padding: rows and columns before the resized frame, in input pixels.

    Returns:
        (3, 3) float32, cell (row, column, 1) to frame (row, column, 1).

    Raises:
        ValueError: if a size is not positive.
    """
    if min(*frame, *content, stride) <= 0:
        raise ValueError(f"frame {frame}, content {content} and stride {stride} must all be positive")
    result = torch.eye(3, dtype=torch.float64)
    for axis in (0, 1):
        pixel = frame[axis] / content[axis]
        result[axis, axis] = stride * pixel
        result[axis, 2] = (0.5 * stride - padding[axis]) * pixel - 0.5
    return result.float()


def to_teacher_grid(
    features: torch.Tensor, student_affine: torch.Tensor, teacher_affine: torch.Tensor, grid: tuple[int, int]
) -> torch.Tensor:
    """Resample a student's map at a teacher's cells.

    Along an axis, the map is averaged over teacher cells larger than the student's, and interpolated at the centre of
    smaller ones. Both preserve maps linear in frame coordinates within the student's input; beyond it the edge is
    repeated (such cells show no frame and are masked).

    Computed in float32, independent of autocast. Keep affines on the CPU: reading them from a GPU synchronises.

    Args:
        features: (B, C, hs, ws).
        student_affine: (3, 3) or (2, 3), or one per sample (B, 3, 3) or (B, 2, 3).
        teacher_affine: likewise.
        grid: rows and columns (h, w) of the teacher's map.

    Returns:
        (B, C, h, w) in the dtype of ``features``. ``features`` itself for identical grids.

    Raises:
        ValueError: if an affine rotates or shears, is singular, or is not one per sample.
    """
    batch, source = len(features), (features.shape[2], features.shape[3])
    return GridMove.between(student_affine, teacher_affine, source, grid, batch, features.device)(features)


class GridMove(NamedTuple):
    """Resampling weights of a batch of maps, for :func:`to_teacher_grid`.

    Attributes:
        rows: (B or 1, 1, h, hs) float32, weight of each map row in each target row; None for identical grids.
        columns: (B or 1, 1, w, ws), likewise.
    """

    rows: torch.Tensor | None
    columns: torch.Tensor | None

    @classmethod
    def between(
        cls,
        student_affine: torch.Tensor,
        teacher_affine: torch.Tensor,
        source: tuple[int, int],
        grid: tuple[int, int],
        batch: int,
        device: torch.device,
        known: dict[Any, GridMove] | None = None,
    ) -> GridMove:
        """The move from a student's map to a teacher's.

        Args:
            student_affine: see :func:`to_teacher_grid`.
            teacher_affine: see :func:`to_teacher_grid`.
            source: rows and columns of the student's map.
            grid: target rows and columns.
            batch: number of maps.
            device: device of the maps.
            known: cache of moves for batches of equal geometry, owned by the caller and filled here; the oldest of
                more than :data:`MOST_KNOWN` is dropped.

        Returns:
            The move.

        Raises:
            ValueError: see :func:`to_teacher_grid`.
        """
        place = _relative(_square(student_affine), _square(teacher_affine), batch)
        if known is None or len(place) > 1:
            return cls._of(place, source, grid, device)
        key = (place.numpy().tobytes(), tuple(source), tuple(grid), device)
        if key not in known:
            if len(known) >= MOST_KNOWN:
                known.pop(next(iter(known)))
            known[key] = cls._of(place, source, grid, device)
        return known[key]

    @classmethod
    def _of(cls, place: torch.Tensor, source: tuple[int, int], grid: tuple[int, int], device: torch.device) -> GridMove:
        """From (B or 1, 3, 3) float64 on the CPU, target cell to cell of the map."""
        centres, widths = [], []
        for axis in (0, 1):
            step, start = place[:, axis, axis, None], place[:, axis, 2, None]
            centres.append(step * torch.arange(grid[axis], dtype=torch.float64) + start)
            # Interpolation has a blur variance of 1/6 square cell. Averaging adds the rest of the variance of a
            # whole-cell mean (step^2 / 12): continuous in the cell size.
            widths.append((step.square() - 2).clamp(min=0).sqrt())
        moves = tuple(source) != tuple(grid) or any(
            bool((c - torch.arange(n, dtype=torch.float64)).abs().max() >= _CLOSE) for c, n in zip(centres, grid)
        )
        if not moves:
            return cls(None, None)
        # cached for later training calls: no inference-mode tensors
        with torch.inference_mode(False), torch.no_grad():
            return cls(*(cell_weights(c, w, n).to(device)[:, None] for c, w, n in zip(centres, widths, source)))

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Move maps.

        Args:
            features: (B, C, hs, ws).

        Returns:
            (B, C, h, w) in the dtype of ``features``; ``features`` itself for identical grids.
        """
        if self.rows is None or self.columns is None:
            return features
        with torch.autocast(features.device.type, enabled=False):
            # Rows first: less data for the columns. Shared weights have a leading 1 and are broadcast.
            return (self.rows @ features.float() @ self.columns.transpose(2, 3)).to(features.dtype)


def cell_weights(centres: torch.Tensor, widths: torch.Tensor, cells: int) -> torch.Tensor:
    """Weights of the mean of a linearly interpolated row of cells over intervals.

    The interpolated row passes through the values of the cells at 0, 1, ... and is extrapolated linearly by half a cell
    at both ends. Intervals are clipped to -0.5...cells - 0.5; one outside takes the edge.

    Args:
        centres: (B, n) centres of the intervals.
        widths: (B, 1) or (B, n) widths of the intervals; narrow ones take the value at the centre.
        cells: number of cells in the row.

    Returns:
        (B, n, cells) float32; each row sums to 1.
    """
    low, high = -0.5, cells - 0.5
    start, end = (centres - widths / 2).clamp(low, high), (centres + widths / 2).clamp(low, high)
    width = (end - start)[..., None]
    mean = (_integral(end, cells) - _integral(start, cells)) / width.clamp(min=_NARROW)
    value = _hats((start + end) / 2, cells)
    return torch.where(width < _NARROW, value, mean).float()


def _hats(at: torch.Tensor, cells: int) -> torch.Tensor:
    """(..., cells): weight of each cell in the interpolated row at a point."""
    if cells == 1:
        return torch.ones_like(at)[..., None]
    inner = at.clamp(0, cells - 1)
    result = (1 - (inner[..., None] - torch.arange(cells, dtype=at.dtype)).abs()).clamp(min=0)
    before, after = at - at.clamp(min=0), at - at.clamp(max=cells - 1)
    result[..., 0] -= before
    result[..., 1] += before
    result[..., -1] += after
    result[..., -2] -= after
    return result


def _integral(to: torch.Tensor, cells: int) -> torch.Tensor:
    """(..., cells): an antiderivative of :func:`_hats`."""
    if cells == 1:
        return to[..., None]
    away = to.clamp(0, cells - 1)[..., None] - torch.arange(cells, dtype=to.dtype)
    away = away.clamp(-1, 1)
    result = 0.5 + away - 0.5 * away * away.abs()
    before, after = to.clamp(max=0), (to - (cells - 1)).clamp(min=0)
    result[..., 0] += before - before.square() / 2
    result[..., 1] += before.square() / 2
    result[..., -1] += after + after.square() / 2
    result[..., -2] -= after.square() / 2
    return result


def _square(affine: torch.Tensor) -> torch.Tensor:
    """(3, 3) or (2, 3), with or without a batch, as (B or 1, 3, 3) float64 on the CPU, checked."""
    shape = tuple(affine.shape)
    affine = affine.detach().as_subclass(torch.Tensor).cpu().double()
    affine = affine[None] if affine.ndim == 2 else affine
    if affine.ndim != 3 or tuple(affine.shape[1:]) not in ((2, 3), (3, 3)):
        raise ValueError(f"an affine must be (3, 3) or (2, 3), or one of these per sample, not {shape}")
    scale, aside = affine[:, (0, 1), (0, 1)].abs(), affine[:, (0, 1), (1, 0)].abs()
    if not bool((scale > 0).all()) or not bool((aside <= _CLOSE * scale.amin(1, keepdim=True)).all()):
        raise ValueError("an affine between grid and frame may scale and shift, but not turn, shear or vanish")
    whole = torch.eye(3, dtype=torch.float64).repeat(len(affine), 1, 1)
    whole[:, :2] = affine[:, :2]
    return whole


def _relative(student: torch.Tensor, teacher: torch.Tensor, batch: int) -> torch.Tensor:
    """Teacher's grid to student's grid; a single one for equal geometry."""
    for affine in (student, teacher):
        if len(affine) not in (1, batch):
            raise ValueError(f"{len(affine)} affines were given for {batch} samples")
    place = torch.linalg.inv(student) @ teacher
    return place[:1] if bool((place == place[:1]).all()) else place
