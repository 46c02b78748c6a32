"""Features of a cine as a file."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection

from monai_agglo.data.feature_cache.writer import FeatureWriter
from monai_agglo.files import atomic_path

__all__ = ["SaveFeaturesd"]


class SaveFeaturesd(FeatureWriter):
    """Write ``<output_dir>/<name>/<name>_<encoder>_features.npz``; ``_features_RANDOM.npz`` for random weights.

    It holds ``features`` (n, C, h, w) float16, ``frames`` (n,) frame indices in the cine, ``affine`` (3, 3) from a cell
    (row, column, 1) to the frame, and ``mask`` (h, w), the share of each cell that shows the frame.

    Args:
        keys: key of the features (C, h, w, n) of n evenly spread frames.
        sheet: object with ``spec`` (name, title, geometry, input_size, min_side) and ``random_weights``.
        image_key: image (1, H, W, T); the name is its ``filename_or_obj``, already a pseudonym.
        output_dir: output folder.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        sheet: Any = None,
        image_key: str = "image",
        output_dir: str | os.PathLike = ".",
    ) -> None:
        if sheet is None:
            raise ValueError("SaveFeaturesd needs sheet: whose features are written")
        super().__init__(keys, sheet, image_key, output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Write the file.

        Args:
            data: dictionary with image and features.

        Returns:
            ``data``, unchanged.
        """
        ending = "features_RANDOM.npz" if self.encoder.random_weights else "features.npz"
        for stem, numbers, (features, affine, mask) in self.outputs(data):
            with atomic_path(f"{stem}{ending}") as partial, open(partial, "wb") as stream:
                np.savez_compressed(
                    stream,
                    features=features.numpy().astype(np.float16),
                    frames=np.asarray(numbers),
                    affine=affine.numpy(),
                    mask=mask[0, 0].numpy(),
                )
        return data
