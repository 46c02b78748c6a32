"""Masks of a cine beside its image, for MONAI."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_agglo.cine.masks import UNLABELLED, labelled_channels, read_cine_masks
from monai_agglo.swallow import TARGETS

__all__ = ["LoadCineMasksd"]


class LoadCineMasksd(MapTransform):
    """Load the masks of a cine beside its image.

    A case may be partially labelled (``labelled_structures``: names, ``labelled_frames``: indices): all other channels
    and frames become :data:`UNLABELLED`, ignored by loss and metrics.

    Args:
        keys: keys of mask file paths.
        image_key: loaded image (1, H, W, T), the reference for shape and geometry.
        structures: number of leading structures of the table.
        allow_missing_keys: skip keys that are absent or None.
        drawn_frames: treat frames with empty masks as unlabelled.
    """

    def __init__(
        self,
        keys: KeysCollection = "label",
        image_key: str = "image",
        structures: int = len(TARGETS),
        allow_missing_keys: bool = False,
        drawn_frames: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.drawn_frames = drawn_frames
        self.image_key = image_key
        self.structures = structures

    def __call__(self, data):
        """Load.

        Args:
            data: dictionary with the paths and, at ``image_key``, the loaded image.

        Returns:
            A copy with, at each key, a MetaTensor uint8 (structures, H, W, T) of 0, 1 and :data:`UNLABELLED`.

        Raises:
            ValueError: see :func:`read_cine_masks`; also for an unknown structure or frame in the case.
        """
        d = dict(data)
        image = d.get(self.image_key)
        shape = tuple(image.shape[-3:]) if image is not None and hasattr(image, "shape") else None
        for key in self.keys:
            if d.get(key) is None:
                if self.allow_missing_keys:
                    continue
                raise ValueError(f"the case has no {key!r}; name its mask file or leave it out of training")
            named = list(d.get("labelled_structures") or ())
            only = named[0] if len(named) == 1 else None
            masks = read_cine_masks(d[key], shape, self.structures, only)
            try:
                labelled = labelled_channels(d, masks.shape[0], masks.shape[3])
            except ValueError as error:
                raise ValueError(f"{d[key]}: {error}") from error
            if self.drawn_frames:
                labelled &= masks.any((0, 1, 2))
            for s, t in zip(*np.nonzero(~labelled)):
                masks[s, :, :, t] = UNLABELLED
            meta = {"affine": image.affine.clone()} if isinstance(image, MetaTensor) else {}
            d[key] = MetaTensor(torch.from_numpy(masks), **meta)
        return d
