"""Shared base of the transforms that write features of a cine."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from monai_agglo.networks.teachers import TeacherFeatures
from monai_agglo.pictures.contact_sheet import pick_frames

from .view import stored_mask

__all__ = ["FeatureWriter"]


class FeatureWriter(MapTransform):
    """Base of transforms that write ``<output_dir>/<name>/<name>_<encoder>_...`` from features (C, h, w, n).

    The name is the image's ``filename_or_obj``, pseudonymised by :class:`PseudonymizeMetad`.

    Args:
        keys: key of the features of n evenly spread frames.
        encoder: source of the features: an object with ``random_weights`` and ``spec`` (name, title, geometry,
            input_size, min_side), its own or its ``teacher``'s.
        image_key: image (1, H, W, T).
        output_dir: output folder.
    """

    def __init__(self, keys: KeysCollection, encoder: Any, image_key: str, output_dir: str | os.PathLike) -> None:
        super().__init__(keys)
        self.spec = encoder.spec if hasattr(encoder, "spec") else encoder.teacher.spec
        self.encoder = encoder
        self.image_key = image_key
        self.output_dir = Path(output_dir)

    def outputs(self, data: Mapping[Hashable, Any]) -> Iterator[tuple[Path, list[int], TeacherFeatures]]:
        """Per key: path without suffix, frame indices, features and their geometry."""
        image = data[self.image_key]
        name = Path(str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])).name
        for key in self.key_iterator(data):
            features = data[key].cpu().permute(3, 0, 1, 2)
            affine, mask = stored_mask(tuple(image.shape[1:3]), features.shape[-1], asdict(self.spec))
            numbers = pick_frames(image.shape[-1], len(features))
            stem = self.output_dir / name / f"{name}_{self.spec.name}_"
            yield stem, numbers, TeacherFeatures(features, affine, mask[None, None])
