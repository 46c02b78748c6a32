"""The feature cache as a handler: the teacher runs once over all frames before the evaluator's first iteration."""

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
    """Builds a feature cache when an engine starts; list it after the handler that loads the weights.

    Args:
        frames: source of frames, for example :class:`monai_agglo.data.CineFrames`.
        network: the bundle's network, on its device.
        path: folder of the cache. What it holds already, of this or another teacher, is kept.
        view: grid and channels to store; averaged to about 32 cells a side and 256 components when None.
        precision: ``int8`` or ``fp16``.
        batch_size: frames per call of the teacher; 1 on a CPU and 16 on a GPU when None.
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
        """Build when this engine starts."""
        engine.add_event_handler(Events.STARTED, self.build)

    def build(self, engine: Engine | None = None) -> FeatureCache:
        """Build now; frames that hold nothing to encode are left out.

        Returns:
            The cache.

        Raises:
            FeatureCacheError: see :func:`monai_agglo.data.build_feature_cache`.
        """
        device = next(self.network.parameters()).device
        options = {**self.options, "on_bad": "skip", "device": device, "verify": 0}
        return build_feature_cache(self.frames, [self.network.teacher], self.path, **options)
