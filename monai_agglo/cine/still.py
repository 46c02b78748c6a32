"""A still picture as a cine of one frame: PNG, JPEG, BMP or TIFF."""

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
    """Pillow's name of the picture format that a file begins with, None when it is none."""
    return next((name for start, name in _STARTS.items() if head.startswith(start)), None)


class StillFrame(FrameSource):
    """The one frame of a picture.

    Args:
        path: the file.
        kind: Pillow's name of its format; no other is tried.
        shown: path for messages.
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
            raise fail(shown, f"the picture has more than the {MAX_FRAME_PIXELS} pixels a frame may have") from None
        except Exception as error:  # Pillow raises whatever a damaged file leads it to
            raise fail(shown, f"the picture is damaged ({type(error).__name__})") from None
        if frames != 1 and kind == "TIFF":
            raise fail(shown, f"a TIFF with {frames} pages is not read; save it as video, NIfTI or DICOM")
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
                raise fail(self.shown, f"the picture is damaged ({type(error).__name__})") from None
            yield pixels


def open_still(path: str | os.PathLike, kind: str, shown: object) -> tuple[FrameSource, dict[str, Any]]:
    """Open a picture as a cine of one frame.

    Args:
        path: the file.
        kind: Pillow's name of its format, from :func:`still_format`.
        shown: path for messages.

    Returns:
        The frame source and the metadata of a cine.

    Raises:
        CineReadError: the picture is damaged or too large.
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
