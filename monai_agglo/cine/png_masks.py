"""Masks of a still as PNG: a label map, or one structure in black and white."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from monai_agglo.swallow import STRUCTURES, index_of

from .errors import check_size

__all__ = ["PNG_SUFFIX", "png_shape", "read_png_masks"]

PNG_SUFFIX = ".png"
MODES = ("1", "L", "P", "I", "I;16")
"""Pillow modes: 1 bit, 8-bit grey, palette (the indices are the labels), 32-bit and 16-bit grey."""


def png_shape(path: Path) -> tuple[int, int, int]:
    """Read the size of a PNG from its header.

    Args:
        path: PNG file.

    Returns:
        (H, W, 1).

    Raises:
        ValueError: the file is not a PNG.
    """
    with _open(path) as image:
        return image.height, image.width, 1


def read_png_masks(path: Path, only: str | None = None) -> np.ndarray:
    """Read a PNG as a label map.

    Args:
        path: greyscale or palette PNG. Pixel values or palette indices are structure ids; values of only 0 and 255
            show a single structure.
        only: name of the single structure.

    Returns:
        (H, W, 1) of structure ids, 0 for background.

    Raises:
        ValueError: the file is not a PNG, is a colour image, or shows a single unnamed structure.
    """
    with _open(path) as image:
        if image.mode not in MODES:
            raise ValueError(f"{path}: a label map has one number per pixel, not colours (mode {image.mode})")
        check_size(path, image.height, image.width, 1)
        array = np.asarray(image)
    array = np.where(array, 255, 0).astype(np.uint8) if array.dtype == bool else array
    if array.max(initial=0) == 255 and np.isin(array, (0, 255)).all():
        if only is None:
            raise ValueError(f"{path}: a black and white mask shows one structure; give its name as the only structure")
        array = np.where(array, STRUCTURES[index_of(only)].id, 0).astype(np.uint8)
    return array[..., None]


def _open(path: Path):
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(path, formats=["PNG"])
        except UnidentifiedImageError:
            raise ValueError(f"{path}: this is not a PNG file") from None
