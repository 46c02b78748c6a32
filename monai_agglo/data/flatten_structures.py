"""Overlapping structures as one label map, for viewers without multi-label support."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_agglo.swallow import TARGETS, flatten

__all__ = ["FlattenStructuresd"]


class FlattenStructuresd(MapTransform):
    """Flatten mask channels to a label map of structure ids; in overlaps the structure of higher priority wins.

    Args:
        keys: keys of binary masks (S, ...) in table order, S = 12 target structures.
        allow_missing_keys: leave out keys that are absent.
    """

    def __init__(self, keys: KeysCollection = "pred", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data):
        """Flatten.

        Args:
            data: dictionary with the masks.

        Returns:
            A copy with uint8 label maps (1, ...): 0 is background, else the id of a structure.

        Raises:
            ValueError: if the number of channels is not the number of target structures.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            masks = d[key]
            plain = masks.as_tensor() if isinstance(masks, MetaTensor) else torch.as_tensor(masks)
            labels = torch.from_numpy(flatten(np.asarray(plain.cpu()) > 0.5, TARGETS))[None]
            d[key] = (
                MetaTensor(labels, meta=masks.meta, applied_operations=masks.applied_operations)
                if isinstance(masks, MetaTensor)
                else labels
            )
        return d
