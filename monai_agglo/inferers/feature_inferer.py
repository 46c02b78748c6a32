"""Teacher features from the cache."""

from __future__ import annotations

import os

import torch
from monai.inferers import Inferer

from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.frames import frame_hash
from monai_agglo.pictures.contact_sheet import pick_frames

__all__ = ["CachedFeatureInferer"]


class CachedFeatureInferer(Inferer):
    """Looks up the features of a cine's frames.

    Args:
        path: folder of the cache; it is opened at the first call, when it has been built.
        frames: at most this many frames of a cine, evenly spread.
    """

    def __init__(self, path: str | os.PathLike, frames: int = 8) -> None:
        super().__init__()
        if frames < 1:
            raise ValueError(f"frames must be at least 1, not {frames}")
        self.path = path
        self.frames = frames
        self._cache: FeatureCache | None = None

    def __call__(self, inputs: torch.Tensor, network, *args, **kwargs) -> torch.Tensor:
        """Look up.

        Args:
            inputs: one cine (1, 1, H, W, T) in [0, 1].
            network: a :class:`monai_agglo.networks.TeacherNetwork`: says which teacher; it is not run.
            args: not used.
            kwargs: not used.

        Returns:
            (1, C, h, w, n) on the stored grid, n = min(T, frames); zeros for frames that were left out of the cache
            because they hold nothing to encode.
        """
        if self._cache is None:
            self._cache = FeatureCache.open(self.path, [network.teacher.spec.name], verify=0)
        cache, name = self._cache, network.teacher.spec.name
        cine = inputs.as_subclass(torch.Tensor)[0, 0].cpu()
        maps = []
        for t in pick_frames(cine.shape[-1], self.frames):
            key = frame_hash(cine[..., t])
            maps.append(cache[key, name] if (key, name) in cache else torch.zeros(cache.shape(name)))
        return cache.expand(name, torch.stack(maps)).permute(1, 2, 3, 0)[None].to(inputs.device)
