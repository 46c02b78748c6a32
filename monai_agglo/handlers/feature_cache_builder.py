"""Handler that builds the feature cache before the first iteration of an evaluator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine, Events

from monai_agglo.data.feature_cache.build import build_feature_cache
from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.view import FeatureView
from monai_agglo.networks import TeacherNetwork

__all__ = ["FeatureCacheBuilder"]


class FeatureCacheBuilder:
    """Builds a feature cache when an engine starts; list it after the weights loader.

    Args:
        frames: source of frames, for example :class:`monai_agglo.data.CineFrames`.
        network: the bundle's network, on its device.
        path: folder of the cache. Existing entries of this or other teachers are kept.
        view: grid and channels to store; about 32 cells per side and 256 components if None.
        precision: ``int8`` or ``fp16``.
        batch_size: frames per call of the teacher; 1 on a CPU and 16 on a GPU if None.
        progress: show size and progress.
    """

    def __init__(
        self,
        frames: Sequence[Any],
        network: TeacherNetwork,
        path: str | os.PathLike,
        view: FeatureView | None = None,
        precision: str = "int8",
        batch_size: int | None = None,
        progress: bool = True,
    ) -> None:
        self.frames = frames
        self.network = network
        self.path = path
        self.options = {
            "view": view or FeatureView(),
            "precision": precision,
            "batch_size": batch_size,
            "progress": progress,
        }

    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        engine.add_event_handler(Events.STARTED, self.build)

    def build(self, engine: Engine | None = None) -> FeatureCache:
        """Build the cache; invalid frames (constant, NaN) are omitted.

        Returns:
            The cache.

        Raises:
            FeatureCacheError: see :func:`monai_agglo.data.build_feature_cache`.
        """
        device = next(self.network.parameters()).device
        options = {**self.options, "on_bad": "skip", "device": device, "verify": 0}
        return build_feature_cache(self.frames, [self.network.teacher], self.path, **options)
