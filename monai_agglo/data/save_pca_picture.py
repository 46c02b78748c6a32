"""The PCA picture of a cine's features as a transform."""

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

from monai_agglo.networks.teachers import TeacherFeatures

from .contact_sheet import pick_frames
from .feature_cache_view import stored_mask
from .pca_picture import write_pca_picture

__all__ = ["SavePcaPictured"]

RANDOM = "RANDOM WEIGHTS: these features mean nothing"


class SavePcaPictured(MapTransform):
    """Write ``<output_dir>/<name>/<name>_<teacher>_pca.png``: frames beside their features in colour.

    The name is the image's ``filename_or_obj``, which :class:`PseudonymizeMetad` has made a pseudonym.

    Args:
        keys: key of the features (C, h, w, n) of n evenly spread frames, see
            :class:`monai_agglo.inferers.CachedFeatureInferer`.
        network: whose features they are: a :class:`monai_agglo.networks.TeacherNetwork`, or an object with ``spec``
            (name, title, geometry, input_size, min_side) and ``random_weights``.
        image_key: image (1, H, W, T) in [0, 1].
        output_dir: where to write.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        network: Any = None,
        image_key: str = "image",
        output_dir: str | os.PathLike = ".",
    ) -> None:
        super().__init__(keys)
        if network is None:
            raise ValueError("SavePcaPictured needs network: the one whose features are shown")
        self.network = network
        self.image_key = image_key
        self.output_dir = Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Write the picture.

        Args:
            data: dictionary with image and features.

        Returns:
            ``data``, unchanged.

        Raises:
            ValueError: when there are no features.
        """
        image = data[self.image_key]
        cine = np.asarray(image.cpu())[0]
        name = Path(str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])).name
        spec = self.network.spec if hasattr(self.network, "spec") else self.network.teacher.spec
        for key in self.key_iterator(data):
            features = data[key].cpu().permute(3, 0, 1, 2)
            numbers = pick_frames(cine.shape[-1], len(features))
            affine, mask = stored_mask(cine.shape[:2], features.shape[-1], asdict(spec))
            write_pca_picture(
                self.output_dir / name / f"{name}_{spec.name}_pca.png",
                cine[..., numbers].transpose(2, 0, 1),
                TeacherFeatures(features, affine, mask[None, None]),
                numbers,
                cine.shape[-1],
                title=f"{spec.title}, case {name}",
                warning=RANDOM if self.network.random_weights else "",
            )
        return data
