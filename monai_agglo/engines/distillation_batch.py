"""From a batch of the student's data set to tensors on the device: decoded and normalised once for all students."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.losses import TargetSpace

__all__ = ["DistillationBatch", "TargetReader"]


class DistillationBatch(NamedTuple):
    """A batch on the device.

    Attributes:
        image: (B, 1, S, S) in [0, 1].
        image_affine: (B, 3, 3), on the CPU: resampling reads it there.
        affines: by teacher, (B, 3, 3), on the CPU.
        features: by teacher, (B, k, h, w) float32, the stored view.
        targets: the same, normalised.
        masks: by teacher, (B, h, w) in [0, 1].
    """

    image: torch.Tensor
    image_affine: torch.Tensor
    affines: dict[str, torch.Tensor]
    features: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]
    masks: dict[str, torch.Tensor]


class TargetReader:
    """Reads the batches of a :class:`monai_agglo.data.StudentFrameDataset`.

    Args:
        cache: decodes what is stored.
        space: normalises it.
    """

    def __init__(self, cache: FeatureCache, space: TargetSpace) -> None:
        self.cache = cache
        self.space = space

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Any], device: torch.device, non_blocking: bool = False) -> DistillationBatch:
        """Move, decode and normalise.

        Args:
            batch: collated samples.
            device: where to.
            non_blocking: copy without waiting, where memory is pinned.

        Returns:
            The batch on the device.
        """
        options = {"device": device, "non_blocking": non_blocking}
        features = {name: self._decode(name, value, options) for name, value in batch["features"].items()}
        masks = {name: value.as_subclass(torch.Tensor).to(**options) for name, value in batch["mask"].items()}
        return DistillationBatch(
            batch["image"].as_subclass(torch.Tensor).to(memory_format=torch.channels_last, **options),
            batch["image_affine"].as_subclass(torch.Tensor).cpu(),
            {name: value.as_subclass(torch.Tensor).cpu() for name, value in batch["affine"].items()},
            features,
            self.space(features, masks),
            masks,
        )

    def _decode(self, name: str, value: Any, options: dict[str, Any]) -> torch.Tensor:
        if isinstance(value, torch.Tensor):
            return value.as_subclass(torch.Tensor).to(**options).float()
        scale = value.get("scale")
        return self.cache.decode(name, value["codes"].to(**options), None if scale is None else scale.to(**options))
