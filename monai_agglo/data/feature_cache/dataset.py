"""Frames with the features of their teachers, for training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from monai.data import Dataset

from monai_agglo.networks.teachers import Teacher

from .cache import FeatureCache
from .frames import get_frame
from .store import FeatureCacheError

__all__ = ["FeatureCacheDataset"]


class FeatureCacheDataset(Dataset):
    """Frames and their cached teacher features.

    A sample is ``{"image": (1, H, W), "frame": hash, "features": {teacher: (k, h, w)}, "mask": {teacher: (h, w)}}``.
    Features belong to the frame as it was encoded: never flip, turn or crop ``image`` without them; photometric
    augmentation of the student's image is fine.

    Args:
        frames: a source of frames, see :func:`~.feature_cache_frames.get_frame`; frames without features are left out.
        cache: an open cache, or the folder of one.
        teachers: which ones, by name or live; all when None. Live ones are matched and re-checked on opening.
        transform: called with each sample.
        packed: give ``{"codes": ..., "scale": ...}`` instead of decoded features: a quarter of the bytes to move;
            ``dataset.cache.decode(teacher, codes, scale)`` decodes a batch on its device.
        verify: entries to re-check when ``cache`` is a folder and a live teacher is given.

    Raises:
        FeatureCacheError: if the cache cannot be opened or has none of the frames.
    """

    def __init__(
        self,
        frames: Sequence[Any],
        cache: FeatureCache | str | os.PathLike,
        teachers: Sequence[Teacher | str] | None = None,
        transform: Callable | None = None,
        packed: bool = False,
        verify: int = 4,
    ) -> None:
        if not isinstance(cache, FeatureCache):
            cache = FeatureCache.open(cache, teachers, verify, frames)
        self.cache = cache
        self.frames = frames
        self.packed = packed
        names = cache.teachers if teachers is None else [t if isinstance(t, str) else t.spec.name for t in teachers]
        self.teachers = tuple(names)
        self.keys = cache.index(frames)
        samples = [
            (index, key.hash)
            for index, key in enumerate(self.keys)
            if key is not None and all((key.hash, name) in cache for name in self.teachers)
        ]
        if not samples:
            raise FeatureCacheError(f"{cache.path} has features of none of the frames given")
        super().__init__(data=samples, transform=transform)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, key = self.data[index]
        sample: dict[str, Any] = {"image": get_frame(self.frames, number), "frame": key, "features": {}, "mask": {}}
        for name in self.teachers:
            sample["features"][name] = self.features(key, name)
            sample["mask"][name] = self.cache.geometry(key, name)[1]
        return self.transform(sample) if self.transform else sample

    def features(self, frame: str, teacher: str) -> Any:
        """Features of one frame: (k, h, w) float32, or with ``packed`` the codes and scales as they are stored.

        Args:
            frame: content hash.
            teacher: name.

        Returns:
            A tensor, or ``{"codes": ..., "scale": ...}``.
        """
        if not self.packed:
            return self.cache[frame, teacher]
        codes, scale = self.cache.read(frame, teacher)
        return {"codes": codes} if scale is None else {"codes": codes, "scale": scale}
