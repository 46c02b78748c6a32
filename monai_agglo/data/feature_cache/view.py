"""What a cache keeps of a teacher's map: the stored view (grid, principal components) and its precision."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional as F

from monai_agglo.networks.teachers import FrameGrid, TeacherSpec

from .store import FeatureCacheError

__all__ = ["COMPACT", "NATIVE", "PRECISIONS", "FeatureCodec", "FeatureView", "stored_mask"]

PRECISIONS = {"int8": torch.int8, "fp16": torch.float16}
SMALL_MAP = 256
"""Maps of at most this many cells are small already and keep all their channels."""


@dataclass(frozen=True)
class FeatureView:
    """Which part of a teacher's map is stored.

    Attributes:
        grid: wanted cells a side. A map is averaged over whole blocks of f x f cells, f = round(side / grid), so that
            nothing is interpolated: 64 becomes 32, and 37 stays 37. None keeps the teacher's grid.
        channels: maps with more channels keep this many principal components, unless they have no more than 256 cells
            (MedCLIP's 7 x 7). None keeps all channels.
    """

    grid: int | None = 32
    channels: int | None = 256

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise FeatureCacheError(f"{name} of a view must be a whole number of at least 1 or None, not {value!r}")

    def factor(self, spec: TeacherSpec) -> int:
        """Cells of the teacher that make one stored cell, along a side; the largest that divides the grid evenly."""
        wanted = 1 if self.grid is None else max(1, round(spec.grid / self.grid))
        return next(f for f in range(wanted, 0, -1) if spec.grid % f == 0)

    def components(self, spec: TeacherSpec) -> int | None:
        """Principal components kept; None if all channels are kept as they are."""
        cells = (spec.grid // self.factor(spec)) ** 2
        return None if self.channels is None or spec.channels <= self.channels or cells <= SMALL_MAP else self.channels

    def shape(self, spec: TeacherSpec) -> tuple[int, int, int]:
        """Channels, rows and columns of what is stored of one frame."""
        side = spec.grid // self.factor(spec)
        return self.components(spec) or spec.channels, side, side

    def bytes(self, spec: TeacherSpec, precision: str) -> int:
        """Bytes of one frame: the values, and for int8 a 16-bit scale per cell."""
        channels, rows, columns = self.shape(spec)
        return rows * columns * (channels + 2 if precision == "int8" else 2 * channels)

    def pool(self, features: torch.Tensor, spec: TeacherSpec) -> torch.Tensor:
        """(B, C, h, w) of the teacher to (B, C, rows, columns) float32 of the stored grid."""
        factor = self.factor(spec)
        return F.avg_pool2d(features.float(), factor) if factor > 1 else features.float()


COMPACT = FeatureView()
NATIVE = FeatureView(None, None)


def stored_mask(frame: tuple[int, int], side: int, spec: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a stored map lies in its frame.

    Args:
        frame: rows and columns of the frame.
        side: cells a side.
        spec: the teacher's data sheet, as a dictionary.

    Returns:
        The (3, 3) affine from grid (row, column, 1) to frame (row, column, 1) in pixels, and the (side, side) share of
        each cell that shows the frame and not padding, in [0, 1].
    """
    fit = FrameGrid.fit(frame, spec["geometry"], spec["input_size"], spec["min_side"])
    return fit.affine(side), fit.mask(side)[0, 0]


@dataclass
class FeatureCodec:
    """Between a teacher's pooled map, the stored view of it, and bytes.

    int8: each cell's vector is centred, turned by a fixed rotation that spreads a few loud channels over all, and
    divided by its own largest value, which is kept as a float16 (docs/cache.md says what the rotation is good for).
    fp16 keeps the centred values.

    Attributes:
        precision: one of :data:`PRECISIONS`.
        centre: (k,) mean of each stored channel over the calibration frames.
        basis: (C, k) principal directions, orthonormal; None if the channels are stored as they are.
        origin: (C,) the mean that is subtracted before ``basis``; None without one.
        retained: share of the variance of the calibration frames that ``basis`` keeps; 1 without one.
        frames: how many frames it was calibrated on.
        gain: what values are divided by before they are packed, so that float16 holds them whatever the teacher's
            scale: the root mean square over cells and channels of the calibration frames.
    """

    precision: str
    centre: torch.Tensor
    basis: torch.Tensor | None = None
    origin: torch.Tensor | None = None
    retained: float = 1.0
    frames: int = 0
    gain: float = 1.0

    @classmethod
    def fit(cls, maps: Iterable[tuple[torch.Tensor, torch.Tensor]], components: int | None, precision: str):
        """Calibrate.

        Args:
            maps: pairs of a pooled map (C, h, w) and its mask (h, w); cells that show less than half are left out.
            components: principal components to keep; None keeps the channels.
            precision: one of :data:`PRECISIONS`.

        Returns:
            The codec.

        Raises:
            FeatureCacheError: if there are too few cells for so many components.
        """
        sums, frames = Moments(), 0
        for features, mask in maps:
            sums.add(features, mask)
            frames += 1
        if sums.count < 2 * (components or 1):
            raise FeatureCacheError(
                f"{frames} frames with {sums.count} cells are too few to find {components} principal components: "
                "give more frames, or keep all channels with view=FeatureView(channels=None)"
            )
        if components is None:
            gain = _gain(sums.covariance().diagonal())
            return cls(precision, sums.mean.float(), frames=frames, gain=gain)
        values, vectors = torch.linalg.eigh(sums.covariance())
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)[:, :components]
        # The sign of a direction is arbitrary: its largest entry is made positive, so that every computer agrees.
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        return cls(
            precision,
            torch.zeros(components),
            vectors.float().contiguous(),
            sums.mean.float(),
            float(values[:components].sum() / values.sum().clamp(min=1e-30)),
            frames,
            _gain(values[:components]),
        )

    def to(self, device: torch.device | str) -> FeatureCodec:
        """The same on another device."""
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(self).items()}
        return FeatureCodec(**moved)

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled maps (B, C, h, w) to the stored view (B, k, h, w), float32."""
        if self.basis is None or self.origin is None:
            return pooled
        return torch.einsum("bchw,ck->bkhw", pooled - self.origin[:, None, None], self.basis)

    def expand(self, stored: torch.Tensor) -> torch.Tensor:
        """The stored view (..., k, h, w) back to the teacher's channels (..., C, h, w), as far as it was kept."""
        if self.basis is None or self.origin is None:
            return stored
        basis, origin = self.basis.to(stored), self.origin.to(stored)
        return torch.einsum("...khw,ck->...chw", stored, basis) + origin[:, None, None]

    def pack(self, stored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The stored view (B, k, h, w) to codes of the same shape and, for int8, float16 scales (B, h, w)."""
        values = (stored - self.centre[:, None, None]) / self.gain
        if self.precision == "fp16":
            return values.clamp(-65504, 65504).half(), None
        values = _mix(self.rotation, values)
        # The scale is rounded to what is stored before it is used, and upwards, so that no code leaves -127..127.
        scale = (values.abs().amax(1) * (1.001 / 127)).clamp(6e-5, 65504).half()
        return (values / scale[:, None].float()).round().clamp(-127, 127).to(torch.int8), scale

    def unpack(self, codes: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        """Codes (B, k, h, w) and scales (B, h, w) back to the stored view, float32."""
        if scale is None:
            return codes.float().mul_(self.gain).add_(self.centre[:, None, None])
        # Reading must keep up with training: as few passes over the values as there can be.
        values = _mix(self.rotation.T, codes.float())
        factor = (scale.float() * self.gain)[:, None]
        return torch.addcmul(self.centre[:, None, None], values, factor, out=values)

    @property
    def rotation(self) -> torch.Tensor:
        """(n, n) orthonormal, for n channels that lie k / n apart: the discrete cosine transform.

        It exists for every n and has no large entry. With n = 32 it spreads as well as one over all channels would, at
        an eighth and less of the cost of reading.
        """
        channels = len(self.centre)
        size = next(n for n in range(min(32, channels), 0, -1) if channels % n == 0)
        return _cosine_transform(size if size >= 8 else channels, self.centre.device)


def _gain(variance: torch.Tensor) -> float:
    """Root mean square; 1 for features that never change."""
    found = float(variance.clamp(min=0).mean().sqrt())
    return found if found > 1e-30 else 1.0


def _mix(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Turn (B, k, h, w) maps by an (n, n) matrix that acts on channels j, j + k/n, j + 2k/n... for each j below k/n."""
    return torch.matmul(matrix, values.reshape(len(values), len(matrix), -1)).view(values.shape)


@lru_cache(maxsize=32)
def _cosine_transform(size: int, device: torch.device) -> torch.Tensor:
    place = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.outer(place, place + 0.5) * (math.pi / size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float().to(device)


class Moments:
    """Count, mean and scatter of cells, that can be added to and merged.

    Attributes:
        count: cells.
        mean: (k,) float64.
        scatter: (k, k) float64, the sum of outer products of the deviations from the mean.
    """

    def __init__(self, count: int = 0, mean: torch.Tensor | None = None, scatter: torch.Tensor | None = None) -> None:
        self.count = count
        self.mean = torch.zeros((), dtype=torch.float64) if mean is None else mean
        self.scatter = torch.zeros((), dtype=torch.float64) if scatter is None else scatter

    def add(self, features: torch.Tensor, mask: torch.Tensor) -> None:
        """Add the cells of a map (k, h, w) whose mask (h, w) is at least one half."""
        cells = features.flatten(1)[:, mask.flatten().to(features.device) >= 0.5].T
        if not len(cells):
            return
        mean = cells.mean(0)
        cells = cells - mean
        self.merge(Moments(len(cells), mean.double().cpu(), (cells.T @ cells).double().cpu()))

    def merge(self, other: Moments) -> None:
        """Add what others have counted."""
        if not other.count:
            return
        total, shift = self.count + other.count, other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(shift, shift) * (self.count * other.count / total)
        self.mean = self.mean + shift * (other.count / total)
        self.count = total

    def covariance(self) -> torch.Tensor:
        """(k, k) float64."""
        return self.scatter / max(1, self.count - 1)
