"""A still image (PNG, JPEG, BMP, TIFF) as a cine of one frame."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .errors import MAX_FRAME_PIXELS, check_size, fail
from .frames import FrameSource
from .grey import rgb_to_grey
from .identity import file_pseudonym
from .spacing import UNKNOWN_SPACING, cine_affine
from .timing import NO_TIMING

_STARTS = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}


def still_format(head: bytes) -> str | None:
    """Pillow's name of an image format, by the first bytes of a file; None for other files."""
    return next((name for start, name in _STARTS.items() if head.startswith(start)), None)


class StillFrame(FrameSource):
    """The single frame of a still image.

    Args:
        path: the file.
        kind: Pillow's name of its format; no other format is tried.
        shown: path shown in error messages.
    """

    def __init__(self, path: str | os.PathLike, kind: str, shown: object) -> None:
        from PIL import Image

        self._path, self._kind = path, kind
        self.shown = shown
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path, formats=[kind]) as image:
                    width, height = image.size
                    mode, frames = image.mode, getattr(image, "n_frames", 1)
        except Image.DecompressionBombError:
            raise fail(shown, f"the image has more than the limit of {MAX_FRAME_PIXELS} pixels per frame") from None
        except Exception as error:  # a damaged file may raise any type
            raise fail(shown, f"the image is damaged ({type(error).__name__})") from None
        if frames != 1 and kind == "TIFF":
            raise fail(shown, f"a TIFF with {frames} pages is not supported; save it as video, NIfTI or DICOM")
        check_size(shown, height, width, 1)
        self.deep = mode.startswith("I")
        super().__init__(shown, (height, width, 1), np.dtype(np.uint16 if self.deep else np.uint8))

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        from PIL import Image

        for _ in wanted:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with Image.open(self._path, formats=[self._kind]) as image:
                        if self.deep:
                            pixels = np.asarray(image).astype(np.uint16)
                        elif image.mode in ("L", "1"):
                            pixels = np.asarray(image.convert("L"))
                        else:
                            pixels = rgb_to_grey(np.asarray(image.convert("RGB")))
            except Exception as error:
                raise fail(self.shown, f"the image is damaged ({type(error).__name__})") from None
            yield pixels


def open_still(path: str | os.PathLike, kind: str, shown: object) -> tuple[FrameSource, dict[str, Any]]:
    """Open a still image as a cine of one frame.

    Args:
        path: the file.
        kind: Pillow's name of its format, from :func:`still_format`.
        shown: path shown in error messages.

    Returns:
        The frame source and the metadata of a cine.

    Raises:
        CineReadError: the image is damaged or too large.
    """
    source = StillFrame(path, kind, shown)
    return source, {
        "source_format": "still",
        "timing": NO_TIMING,
        "spacing": UNKNOWN_SPACING,
        "affine": cine_affine((1.0, 1.0)),
        "pixel_aspect": 1.0,
        "modality": None,
        "photometric": "MONOCHROME2",
        "bits_stored": 16 if source.deep else 8,
        "lossy": kind == "JPEG",
        "mask_subtraction": False,
        "view": None,
        "pseudonym": file_pseudonym(path),
        "patient_pseudonym": None,
    }
