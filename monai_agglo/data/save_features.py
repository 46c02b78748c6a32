"""Features of a cine as a file."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from .atomic import atomic_path
from .contact_sheet import pick_frames
from .feature_cache_view import stored_mask

__all__ = ["SaveFeaturesd"]


class SaveFeaturesd(MapTransform):
    """Write ``<output_dir>/<name>/<name>_<encoder>_features.npz``; ``_features_RANDOM.npz`` where they mean nothing.

    It holds ``features`` (n, C, h, w) float16, ``frames`` (n,) their numbers in the cine, ``affine`` (3, 3) from a cell
    (row, column, 1) to the frame, and ``mask`` (h, w), the share of each cell that shows the frame.

    Args:
        keys: key of the features (C, h, w, n) of n evenly spread frames.
        sheet: object with ``spec`` (name, title, geometry, input_size, min_side) and ``random_weights``.
        image_key: image (1, H, W, T); its ``filename_or_obj`` is the name, which must be a pseudonym by now.
        output_dir: where to write.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        sheet: Any = None,
        image_key: str = "image",
        output_dir: str | os.PathLike = ".",
    ) -> None:
        super().__init__(keys)
        if sheet is None:
            raise ValueError("SaveFeaturesd needs sheet: whose features are written")
        self.sheet = sheet
        self.image_key = image_key
        self.output_dir = Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Write the file.

        Args:
            data: dictionary with image and features.

        Returns:
            ``data``, unchanged.
        """
        image = data[self.image_key]
        name = Path(str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])).name
        spec = self.sheet.spec
        ending = "features_RANDOM" if self.sheet.random_weights else "features"
        for key in self.key_iterator(data):
            features = data[key].cpu().permute(3, 0, 1, 2)
            affine, mask = stored_mask(tuple(image.shape[1:3]), features.shape[-1], asdict(spec))
            path = self.output_dir / name / f"{name}_{spec.name}_{ending}.npz"
            with atomic_path(path) as partial, open(partial, "wb") as stream:
                np.savez_compressed(
                    stream,
                    features=features.numpy().astype(np.float16),
                    frames=np.asarray(pick_frames(image.shape[-1], len(features))),
                    affine=affine.numpy(),
                    mask=mask.numpy(),
                )
        return data
