"""Masks of a still as a PNG: a label map, or one structure in black and white."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from monai_agglo.swallow import STRUCTURES, index_of

from .errors import check_size

__all__ = ["PICTURE", "picture_shape", "read_mask_picture"]

PICTURE = ".png"
MODES = ("1", "L", "P", "I", "I;16")
"""Pillow's: black and white, grey in 8 bits, palette (whose indices are the labels), grey in 32 and 16 bits."""


def picture_shape(path: Path) -> tuple[int, int, int]:
    """Rows, columns and frames, from the header alone.

    Args:
        path: PNG file.

    Returns:
        (H, W, 1).

    Raises:
        ValueError: when it is no PNG.
    """
    with _open(path) as image:
        return image.height, image.width, 1


def read_mask_picture(path: Path, only: str | None = None) -> np.ndarray:
    """Read a PNG as a label map.

    Args:
        path: PNG file of one number per pixel: grey, or a palette whose indices count. Values are structure ids; where
            there are none but 0 and 255 it shows one structure.
        only: name of that structure.

    Returns:
        (H, W, 1) of structure ids, 0 where there is none.

    Raises:
        ValueError: when it is no PNG, is in colours, or shows a structure that nobody named.
    """
    with _open(path) as image:
        if image.mode not in MODES:
            raise ValueError(f"{path}: a label map has one number per pixel, not colours (mode {image.mode})")
        check_size(path, image.height, image.width, 1)
        array = np.asarray(image)
    array = np.where(array, 255, 0).astype(np.uint8) if array.dtype == bool else array
    if array.max(initial=0) == 255 and np.isin(array, (0, 255)).all():
        if only is None:
            raise ValueError(
                f"{path}: black and white shows one structure; name it, and it alone, as what was labelled"
            )
        array = np.where(array, STRUCTURES[index_of(only)].id, 0).astype(np.uint8)
    return array[..., None]


def _open(path: Path):
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(path, formats=["PNG"])
        except UnidentifiedImageError:
            raise ValueError(f"{path}: this is no PNG, whatever its name says") from None
