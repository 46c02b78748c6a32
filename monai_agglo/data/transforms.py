"""Deterministic transforms of cines: size, intensity, and the packed form that is cached for training."""

from __future__ import annotations

import logging

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import convert_to_tensor

from monai_agglo.cine.intensity import exposed_range, fitted_shape, resize_plane, sample_slices
from monai_agglo.cine.masks import UNLABELLED, pack_masks, unpack_masks

__all__ = ["FitFramesd", "PackCined", "ScaleCineIntensityd", "UnpackCined"]

logger = logging.getLogger(__name__)


def _resize(array: np.ndarray, rows: int, cols: int, binary: bool) -> np.ndarray:
    """Resize (C, H, W, T) in the plane."""
    out = np.empty((array.shape[0], rows, cols, array.shape[3]), array.dtype)
    for c in range(array.shape[0]):
        for t in range(array.shape[3]):
            out[c, :, :, t] = resize_plane(np.ascontiguousarray(array[c, :, :, t]), rows, cols, binary)
    return out


class FitFramesd(MapTransform, InvertibleTransform):
    """Scale the longer side of the frames to a given length; aspect ratio and time stay unchanged.

    Integer arrays are masks (0, 1, 255 for unlabelled) and stay integer; floating-point arrays are images. ``Invertd``
    and :meth:`inverse` restore the source size.

    Args:
        keys: keys of (C, H, W, T) arrays.
        size: longer side in pixels; None for no scaling.
        allow_missing_keys: skip absent keys.

    Raises:
        ValueError: if ``size`` is below 16.
    """

    def __init__(self, keys: KeysCollection, size: int | None = 512, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        if size is not None and size < 16:
            raise ValueError(f"frames must be at least 16 pixels, not {size}")
        self.size = size

    def fitted(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns after scaling."""
        return fitted_shape(height, width, self.size)

    def _to(self, tensor: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
        if tuple(tensor.shape[1:3]) == (rows, cols):
            # A new tensor object: later applied operations must not appear on the caller's.
            return tensor.view_as(tensor)
        plain = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
        resized = torch.from_numpy(_resize(plain.cpu().numpy(), rows, cols, not plain.is_floating_point()))
        resized = resized.to(plain.device)
        if not isinstance(tensor, MetaTensor):
            return resized
        out = MetaTensor(resized, meta=tensor.meta, applied_operations=tensor.applied_operations)
        # Pixel centres: index i of the new grid lies at (i + 0.5) * scale - 0.5 of the old one.
        scale = np.array([tensor.shape[1] / rows, tensor.shape[2] / cols, 1.0])
        step = np.diag([*scale, 1.0])
        step[:3, 3] = (scale - 1) / 2
        out.affine = tensor.affine @ torch.as_tensor(step, dtype=tensor.affine.dtype)
        return out

    def __call__(self, data):
        """Scale.

        Args:
            data: dictionary with (C, H, W, T) tensors at the keys.

        Returns:
            A copy with the scaled tensors.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            tensor = convert_to_tensor(d[key], track_meta=True)
            height, width = int(tensor.shape[1]), int(tensor.shape[2])
            rows, cols = self.fitted(height, width)
            out = self._to(tensor, rows, cols)
            self.push_transform(out, orig_size=(height, width), extra_info={"affine": tensor.affine.tolist()})
            d[key] = out
        return d

    def inverse(self, data):
        """Bring results of the same cine back to the size of the source.

        Args:
            data: dictionary with (C, rows, cols, T) MetaTensors at the keys.

        Returns:
            A copy with tensors in source size.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            record = self.pop_transform(d[key])
            height, width = record["orig_size"]
            out = self._to(d[key], int(height), int(width))
            if isinstance(out, MetaTensor):
                out.affine = torch.as_tensor(record["extra_info"]["affine"], dtype=torch.float64)
            d[key] = out
        return d


class ScaleCineIntensityd(MapTransform):
    """Scale the intensities of a whole cine to 0..1 by robust percentiles inside the exposed field.

    One scale for all frames preserves brightness changes within the cine.

    Args:
        keys: keys of (1, H, W, T) images.
        low: percentile that becomes 0.
        high: percentile that becomes 1.
        allow_missing_keys: skip absent keys.
    """

    def __init__(
        self, keys: KeysCollection = "image", low: float = 0.5, high: float = 99.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.low = low
        self.high = high

    def sampled(self, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
        """Rows, columns and frames sampled for the percentiles: about a million, accurate to 0.01 %.

        Args:
            shape: (..., H, W, T).

        Returns:
            Three slices; streaming readers decode only those frames.
        """
        return sample_slices(shape)

    def scale(self, image: torch.Tensor, low: float, high: float) -> torch.Tensor:
        """Scale with a known range: float32, ``low`` becomes 0 and ``high`` 1, the rest is clipped."""
        image = torch.as_tensor(image).to(torch.float32)
        scaled = (image - low) / (high - low) if high > low else torch.zeros_like(image)
        return scaled.clamp_(0, 1).nan_to_num_(0.0)

    def __call__(self, data):
        """Scale.

        Args:
            data: dictionary with the images.

        Returns:
            A copy with float32 images clipped to 0..1.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            image = d[key]
            sample = image[(..., *self.sampled(image.shape))]
            sample = sample.as_tensor() if isinstance(sample, MetaTensor) else torch.as_tensor(sample)
            d[key] = self.scale(image, *exposed_range(sample.cpu().numpy(), self.low, self.high))
        return d


class PackCined(MapTransform):
    """Pack a cine for the frame store: 8-bit frames and one 16-bit integer per pixel for all masks.

    Args:
        image_key: image (1, H, W, T) within 0..1.
        label_key: masks (S, H, W, T) of 0, 1 and 255 for unlabelled; may be absent.
    """

    def __init__(self, image_key: str = "image", label_key: str = "label") -> None:
        super().__init__([image_key, label_key], allow_missing_keys=True)
        self.image_key = image_key
        self.label_key = label_key

    def __call__(self, data):
        """Pack.

        Args:
            data: dictionary with image and masks.

        Returns:
            A copy with ``image`` uint8 (T, H, W), ``label`` uint16 (T, H, W) and ``labelled`` bool (S, T).
        """
        d = dict(data)
        image = np.asarray(d[self.image_key])[0]
        d[self.image_key] = np.ascontiguousarray(np.rint(image * 255).astype(np.uint8).transpose(2, 0, 1))
        if d.get(self.label_key) is not None:
            masks = np.asarray(d[self.label_key])
            d["labelled"] = masks[:, 0, 0, :] != UNLABELLED
            d[self.label_key] = np.ascontiguousarray(pack_masks(masks).transpose(2, 0, 1))
        return d


class UnpackCined(MapTransform):
    """Inverse of :class:`PackCined`, giving the tensors that network and loss take.

    Args:
        image_key: image uint8 or float32 (T, H, W); floating-point values are within 0..1.
        label_key: packed masks; may be absent.
    """

    def __init__(self, image_key: str = "image", label_key: str = "label") -> None:
        super().__init__([image_key, label_key], allow_missing_keys=True)
        self.image_key = image_key
        self.label_key = label_key

    def __call__(self, data):
        """Unpack.

        Args:
            data: dictionary with the packed cine.

        Returns:
            A copy with ``image`` float32 (1, H, W, T) in 0..1 and ``label`` uint8 (S, H, W, T), 255 where unlabelled.
        """
        d = dict(data)
        image = np.asarray(d[self.image_key])
        image = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image.astype(np.float32, copy=False)
        d[self.image_key] = torch.from_numpy(image).permute(1, 2, 0)[None]
        if d.get(self.label_key) is not None:
            labelled = d.pop("labelled")
            masks = unpack_masks(np.asarray(d[self.label_key]), len(labelled))
            masks[~labelled] = UNLABELLED
            d[self.label_key] = torch.from_numpy(masks).permute(0, 2, 3, 1)
        return d
