"""Stored view of a teacher's map (grid, principal components) and its precision."""

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
"""Maps of at most this many cells keep all channels."""


@dataclass(frozen=True)
class FeatureView:
    """Stored view of a teacher's map.

    Attributes:
        grid: target cells per side. Maps are averaged over blocks of f x f cells, f = round(side / grid), without
            interpolation: 64 becomes 32, 37 stays 37. None keeps the teacher's grid.
        channels: maximum number of principal components; maps of at most 256 cells (MedCLIP's 7 x 7) keep all
            channels. None keeps all channels.
    """

    grid: int | None = 32
    channels: int | None = 256

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and (not isinstance(value, int) or value < 1):
                raise FeatureCacheError(f"{name} of a view must be a whole number of at least 1 or None, not {value!r}")

    def factor(self, spec: TeacherSpec) -> int:
        """Teacher cells per stored cell along a side; a divisor of the grid."""
        wanted = 1 if self.grid is None else max(1, round(spec.grid / self.grid))
        return next(f for f in range(wanted, 0, -1) if spec.grid % f == 0)

    def components(self, spec: TeacherSpec) -> int | None:
        """Principal components kept; None if all channels are kept as they are."""
        cells = (spec.grid // self.factor(spec)) ** 2
        return None if self.channels is None or spec.channels <= self.channels or cells <= SMALL_MAP else self.channels

    def shape(self, spec: TeacherSpec) -> tuple[int, int, int]:
        """Stored channels, rows and columns of one frame."""
        side = spec.grid // self.factor(spec)
        return self.components(spec) or spec.channels, side, side

    def bytes(self, spec: TeacherSpec, precision: str) -> int:
        """Bytes per frame: the values, and for int8 a 16-bit scale per cell."""
        channels, rows, columns = self.shape(spec)
        return rows * columns * (channels + 2 if precision == "int8" else 2 * channels)

    def pool(self, features: torch.Tensor, spec: TeacherSpec) -> torch.Tensor:
        """(B, C, h, w) of the teacher to (B, C, rows, columns) float32 of the stored grid."""
        factor = self.factor(spec)
        return F.avg_pool2d(features.float(), factor) if factor > 1 else features.float()


COMPACT = FeatureView()
NATIVE = FeatureView(None, None)


def stored_mask(frame: tuple[int, int], side: int, spec: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Affine and mask of a stored map in its frame.

    Args:
        frame: rows and columns of the frame.
        side: cells per side.
        spec: the teacher's data sheet, as a dictionary.

    Returns:
        The (3, 3) affine from grid (row, column, 1) to frame (row, column, 1) in pixels, and the (side, side) valid
        (unpadded) area of each cell, in [0, 1].
    """
    fit = FrameGrid.fit(frame, spec["geometry"], spec["input_size"], spec["min_side"])
    return fit.affine(side), fit.mask(side)[0, 0]


@dataclass
class FeatureCodec:
    """Codec between a teacher's pooled map, its stored view and stored codes.

    int8: each cell's vector is centred, turned by a fixed rotation that spreads a few loud channels over all, and
    divided by its largest value, kept as float16. For the rotation see docs/reference/feature_cache.md.
    fp16 keeps the centred values.

    Attributes:
        precision: one of :data:`PRECISIONS`.
        centre: (k,) mean of each stored channel over the calibration frames.
        basis: (C, k) principal directions, orthonormal; None if the channels are stored as they are.
        origin: (C,) the mean that is subtracted before ``basis``; None without one.
        retained: variance of the calibration frames retained by ``basis``, as a fraction; 1 without one.
        frames: number of calibration frames.
        gain: divisor before packing, so that float16 covers the scale of any teacher: the root mean square over cells
            and channels of the calibration frames.
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
            maps: pairs of a pooled map (C, h, w) and its mask (h, w); cells with a mask below one half are ignored.
            components: principal components to keep; None keeps the channels.
            precision: one of :data:`PRECISIONS`.

        Returns:
            The codec.

        Raises:
            FeatureCacheError: if there are fewer cells than needed for the components.
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
        # Fix the arbitrary sign: the largest entry is positive on every computer.
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
        """Copy on another device."""
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(self).items()}
        return FeatureCodec(**moved)

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled maps (B, C, h, w) to the stored view (B, k, h, w), float32."""
        if self.basis is None or self.origin is None:
            return pooled
        return torch.einsum("bchw,ck->bkhw", pooled - self.origin[:, None, None], self.basis)

    def expand(self, stored: torch.Tensor) -> torch.Tensor:
        """The stored view (..., k, h, w) back to the teacher's channels (..., C, h, w), less the dropped components."""
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
        # Round the scale up to float16 before use: codes stay within -127..127.
        scale = (values.abs().amax(1) * (1.001 / 127)).clamp(6e-5, 65504).half()
        return (values / scale[:, None].float()).round().clamp(-127, 127).to(torch.int8), scale

    def unpack(self, codes: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        """Codes (B, k, h, w) and scales (B, h, w) back to the stored view, float32."""
        if scale is None:
            return codes.float().mul_(self.gain).add_(self.centre[:, None, None])
        # Reading must keep up with training: minimal number of passes over the values.
        values = _mix(self.rotation.T, codes.float())
        factor = (scale.float() * self.gain)[:, None]
        return torch.addcmul(self.centre[:, None, None], values, factor, out=values)

    @property
    def rotation(self) -> torch.Tensor:
        """(n, n) orthonormal discrete cosine transform, for n channels k / n apart.

        It exists for every n and has no large entry. n = 32 spreads as well as a transform of all channels at an eighth
        or less of the decoding cost.
        """
        channels = len(self.centre)
        size = next(n for n in range(min(32, channels), 0, -1) if channels % n == 0)
        return _cosine_transform(size if size >= 8 else channels, self.centre.device)


def _gain(variance: torch.Tensor) -> float:
    """Root mean square; 1 for constant features."""
    found = float(variance.clamp(min=0).mean().sqrt())
    return found if found > 1e-30 else 1.0


def _mix(matrix: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Rotate (B, k, h, w) maps by an (n, n) matrix acting on channels j, j + k/n, j + 2k/n... for each j below k/n."""
    return torch.matmul(matrix, values.reshape(len(values), len(matrix), -1)).view(values.shape)


@lru_cache(maxsize=32)
def _cosine_transform(size: int, device: torch.device) -> torch.Tensor:
    place = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.outer(place, place + 0.5) * (math.pi / size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float().to(device)


class Moments:
    """Count, mean and scatter of cells, updatable and mergeable.

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
        """Add the cells of a map (k, h, w) with a mask (h, w) of at least one half."""
        cells = features.flatten(1)[:, mask.flatten().to(features.device) >= 0.5].T
        if not len(cells):
            return
        mean = cells.mean(0)
        cells = cells - mean
        self.merge(Moments(len(cells), mean.double().cpu(), (cells.T @ cells).double().cpu()))

    def merge(self, other: Moments) -> None:
        """Merge other moments."""
        if not other.count:
            return
        total, shift = self.count + other.count, other.mean - self.mean
        self.scatter = self.scatter + other.scatter + torch.outer(shift, shift) * (self.count * other.count / total)
        self.mean = self.mean + shift * (other.count / total)
        self.count = total

    def covariance(self) -> torch.Tensor:
        """(k, k) float64."""
        return self.scatter / max(1, self.count - 1)
