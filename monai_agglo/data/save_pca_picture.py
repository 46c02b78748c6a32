"""PCA visualisation of a cine's features as a transform."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection

from monai_agglo.data.feature_cache.writer import FeatureWriter

from .pca_picture import write_pca_picture

__all__ = ["SavePcaPictured"]

RANDOM = "RANDOM WEIGHTS: these features mean nothing"


class SavePcaPictured(FeatureWriter):
    """Write ``<output_dir>/<name>/<name>_<teacher>_pca.png``: frames beside their features in colour.

    The name is the image's ``filename_or_obj``, pseudonymised by :class:`PseudonymizeMetad`.

    Args:
        keys: key of the features (C, h, w, n) of n evenly spread frames, see
            :class:`monai_agglo.inferers.CachedFeatureInferer`.
        network: source of the features: a :class:`monai_agglo.networks.TeacherNetwork`, or an object with ``spec``
            (name, title, geometry, input_size, min_side) and ``random_weights``.
        image_key: image (1, H, W, T) in [0, 1].
        output_dir: output folder.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        network: Any = None,
        image_key: str = "image",
        output_dir: str | os.PathLike = ".",
    ) -> None:
        if network is None:
            raise ValueError("SavePcaPictured needs network: the one whose features are shown")
        super().__init__(keys, network, image_key, output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """Write the image.

        Args:
            data: dictionary with image and features.

        Returns:
            ``data``, unchanged.

        Raises:
            ValueError: without features.
        """
        cine = np.asarray(data[self.image_key].cpu())[0]
        for stem, numbers, output in self.outputs(data):
            write_pca_picture(
                f"{stem}pca.png",
                cine[..., numbers].transpose(2, 0, 1),
                output,
                numbers,
                cine.shape[-1],
                title=f"{self.spec.title}, case {stem.parent.name}",
                warning=RANDOM if self.encoder.random_weights else "",
            )
        return data
