"""Training data set of frames with their cached teacher features."""

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
    Cached features are valid for geometrically unaugmented frames only: do not flip, rotate or crop ``image``.
    Photometric augmentation is valid.

    Args:
        frames: a source of frames, see :func:`~.frames.get_frame`; frames without features are omitted.
        cache: an open cache, or its folder.
        teachers: names or live teachers; all if None. Live teachers are matched and re-checked on opening.
        transform: transform of each sample.
        packed: return ``{"codes": ..., "scale": ...}`` instead of decoded features: a quarter of the bytes;
            ``dataset.cache.decode(teacher, codes, scale)`` decodes a batch on its device.
        verify: number of entries to re-check when ``cache`` is a folder and a live teacher is given.

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
        """Features of one frame: (k, h, w) float32, or with ``packed`` the stored codes and scales.

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
