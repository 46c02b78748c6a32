"""Normalisation of teacher features to a common scale, and its inverse.

Raw features of different teachers differ by orders of magnitude, and within a teacher a few channels dominate. All
strong recipes since 2024 normalise the targets before they balance losses.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from .hadamard import equalising_rotation
from .names import KINDS

__all__ = ["KINDS", "FeatureStatistics", "TargetNormalizer"]

QUIETEST = 1e-3
"""Minimum deviation of a channel relative to the teacher's root mean square deviation; below it, scaling would amplify
the rounding noise of the cache."""


class FeatureStatistics(Protocol):
    """Statistics of a teacher's features; :class:`monai_agglo.data.feature_cache.cache.TeacherStatistics` is one.

    Attributes:
        count: cells counted.
        mean: (C,).
        covariance: (C, C).
    """

    @property
    def count(self) -> int: ...

    @property
    def mean(self) -> torch.Tensor: ...

    @property
    def covariance(self) -> torch.Tensor: ...


class TargetNormalizer(nn.Module):
    """Invertible map between a teacher's features and a space with losses comparable across teachers.

    - ``identity``: unchanged.
    - ``standardise``: each channel less its mean, over its standard deviation.
    - ``phi_s``: PHI-S (arXiv 2410.01680): y' = H U' (y - mean) / phi. U are the principal directions of the covariance,
      H is a rotation that equalises their variances, phi the root of the mean variance. Every channel then has
      variance 1 as when standardised, but all are scaled by one number: distances and angles between centred features
      are those of the teacher. H is a Hadamard matrix where one is known, see
      :func:`~.hadamard.equalising_rotation` for other channel counts.

    Statistics come from a cache (:meth:`from_statistics`), from a ``state_dict``, or with ``running`` (``standardise``
    only) from the batches themselves while in training mode: at first the plain average over all cells so far, later an
    exponential one, over all processes under DDP.

    Args:
        kind: one of :data:`KINDS`.
        channels: channels of the teacher's features.
        running: estimate the statistics from the batches.
        momentum: minimum weight of a batch in the running statistics; 0 for the average over all batches.

    Attributes:
        count: number of cells in the statistics; 0 without statistics.

    Raises:
        ValueError: for an unknown kind, or ``running`` with another kind than ``standardise``.
    """

    count: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    rotation: torch.Tensor
    phi: torch.Tensor

    def __init__(self, kind: str, channels: int, running: bool = False, momentum: float = 0.001) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"unknown normalisation of targets {kind!r}; known are {', '.join(KINDS)}")
        if running and kind != "standardise":
            raise ValueError(f"running statistics are for standardise only, {kind} takes them from a feature cache")
        self.kind = kind
        self.channels = channels
        self.running = running
        self.momentum = momentum
        self._ready = kind == "identity"
        if kind == "identity":
            return
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(channels))
        if kind == "standardise":
            self.register_buffer("variance", torch.ones(channels))
        else:
            self.register_buffer("rotation", torch.eye(channels))
            self.register_buffer("phi", torch.ones(()))

    @classmethod
    def from_statistics(cls, kind: str, statistics: FeatureStatistics) -> TargetNormalizer:
        """Make a normaliser from the statistics of a cache.

        Args:
            kind: one of :data:`KINDS`.
            statistics: count, mean and covariance.

        Returns:
            The normaliser.

        Raises:
            ValueError: if the statistics are not finite, of too few cells or of constant features.
        """
        mean, covariance = statistics.mean.detach().double().cpu(), statistics.covariance.detach().double().cpu()
        result = cls(kind, len(mean))
        if kind == "identity":
            return result
        if covariance.shape != (len(mean), len(mean)) or not (mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError(
                f"statistics of features must be a finite mean (C,) and covariance (C, C), not {tuple(mean.shape)} and "
                f"{tuple(covariance.shape)} with such values: build the feature cache again"
            )
        if statistics.count < 2 or not float(covariance.diagonal().sum()) > 0:
            raise ValueError(f"{statistics.count} cells without any variance cannot tell the scale of features")
        result.count.fill_(statistics.count)
        result.mean.copy_(mean)
        if kind == "standardise":
            result.variance.copy_(covariance.diagonal())
        else:
            rotation, phi = _phi_s(covariance)
            result.rotation.copy_(rotation)
            result.phi.fill_(phi)
        result._ready = True
        return result

    def forward(self, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise; in training mode with running statistics, update them first.

        Args:
            target: (B, C, h, w), the teacher's features.
            mask: (B, h, w), cells for the statistics: those of at least one half; all if None. Else ignored.

        Returns:
            (B, C, h, w) float32.

        Raises:
            ValueError: if the channels are not the teacher's, or without statistics.
        """
        target = self._checked(target)
        if self.running and self.training:
            self._learn(target.detach(), mask)
        self._require_statistics()
        if self.kind == "identity":
            return target
        centred = target - self.mean[:, None, None]
        if self.kind == "standardise":
            return centred / self._deviation()[:, None, None]
        return _turn(self.rotation / self.phi, centred)

    def inverse(self, normalised: torch.Tensor) -> torch.Tensor:
        """Back to the teacher's own space.

        Args:
            normalised: (B, C, h, w).

        Returns:
            (B, C, h, w) float32.

        Raises:
            ValueError: as :meth:`forward`.
        """
        normalised = self._checked(normalised)
        self._require_statistics()
        if self.kind == "identity":
            return normalised
        if self.kind == "standardise":
            return normalised * self._deviation()[:, None, None] + self.mean[:, None, None]
        return _turn(self.rotation.T * self.phi, normalised) + self.mean[:, None, None]

    def extra_repr(self) -> str:
        return f"{self.kind}, channels={self.channels}" + (", running" if self.running else "")

    def _checked(self, features: torch.Tensor) -> torch.Tensor:
        if features.ndim != 4 or features.shape[1] != self.channels:
            raise ValueError(f"expected features (B, {self.channels}, h, w), not {tuple(features.shape)}")
        return features.as_subclass(torch.Tensor).float()

    def _require_statistics(self) -> None:
        if self._ready:
            return  # one device synchronisation only
        if not int(self.count):
            raise ValueError(
                f"{self.kind} has no statistics yet: make it with TargetNormalizer.from_statistics, load a state_dict"
                + (", or give it batches in training mode" if self.running else "")
            )
        self._ready = True

    def _deviation(self) -> torch.Tensor:
        least = QUIETEST * self.variance.mean().sqrt()
        return torch.maximum(self.variance.sqrt(), least.clamp(min=1e-12))

    @torch.no_grad()
    def _learn(self, target: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Merge the batch's mean and variance, without a device synchronisation."""
        if mask is None:
            valid = target.new_ones((len(target), 1, *target.shape[2:]))
        else:
            valid = (mask.as_subclass(torch.Tensor).to(target.device) >= 0.5).to(target)[:, None]
        total = torch.cat([(target * valid).sum((0, 2, 3)), valid.sum()[None]])
        total = _over_processes(total.double() if target.device.type != "mps" else total)
        cells = total[-1]
        mean = (total[:-1] / cells.clamp(min=1)).to(target)
        squares = ((target - mean[:, None, None]).square() * valid).sum((0, 2, 3))
        variance = _over_processes(squares) / cells.clamp(min=1).to(target)
        share = cells / (cells + self.count).clamp(min=1)
        share = torch.where(cells > 0, share.clamp(min=self.momentum), share).to(target)
        # Variance of the union of two groups of cells; never negative for any mean.
        shift = mean - self.mean
        self.variance.lerp_(variance, share).add_(share * (1 - share) * shift.square())
        self.mean.add_(share * shift)
        self.count.add_(cells.round().to(self.count))


def _over_processes(values: torch.Tensor) -> torch.Tensor:
    """Sum over all processes of a distributed training."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values


def _turn(matrix: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """(C, C) times the channels of (B, C, h, w), in full precision, independent of autocast."""
    with torch.autocast(features.device.type, enabled=False):
        return torch.matmul(matrix, features.flatten(2)).unflatten(2, features.shape[2:])


def _phi_s(covariance: torch.Tensor) -> tuple[torch.Tensor, float]:
    """H U' and phi."""
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    # Fix the arbitrary sign: the largest entry is positive on every computer.
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    share = torch.from_numpy(equalising_rotation(values.numpy()))
    return share @ vectors.T, float(values.mean().sqrt())
