"""MONAI readers for cines: ``LoadImaged(reader="monai_agglo.data.CineReader")``.

Files are opened in ``get_data``, not in ``read``: MONAI's ``LoadImage`` catches exceptions of ``read`` and falls back
to another reader with another axis order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import ImageReader

from monai_agglo.cine.cine import Cine, Frames, open_cine
from monai_agglo.cine.errors import fail


class CineReader(ImageReader):
    """Reads any cine or still into (rows, columns, frames), by content: DICOM, folder, video, NIfTI, NRRD, PNG, JPEG.

    The metadata holds what the array does not: ``frame_times_ms``, ``time_source``, ``spacing_mm``,
    ``repeated_frames`` and so on, see :class:`~monai_agglo.data.Cine`. Missing entries are
    omitted because MONAI cannot collate None. Per-frame lists of cines of different length cannot be collated either:
    load with ``LoadImaged(..., prune_meta_pattern="frame_times_ms|repeated_frames")`` for batches of more than one.

    Args:
        frames: frames to decode: a slice or ascending indices; None for all.
        rescale: apply the modality LUT or rescale slope and intercept; the array is float32.
        voi: apply the VOI LUT or window; the array is float32 in [0, 2**bits_stored - 1].
        any_modality: also read CT, MR and other non-projection images.
        series: series to read from a folder with several.
        itk_spacing: use ITK's spacing in the affine, so that masks align with the cine in ITK viewers; False uses the
            calibrated spacing. ``spacing_mm`` is always the calibrated one.
        itk_frame_step: use the frame time in ms as the frame step of the affine, as ITK does; False uses 1.
    """

    formats: tuple[str, ...] | None = None

    def __init__(
        self,
        frames: Frames = None,
        rescale: bool = False,
        voi: bool = False,
        any_modality: bool = False,
        series: int | None = None,
        itk_spacing: bool = True,
        itk_frame_step: bool = False,
    ) -> None:
        super().__init__()
        self.frames = frames
        self.options = {
            "rescale": rescale,
            "voi": voi,
            "any_modality": any_modality,
            "series": series,
            "itk_spacing": itk_spacing,
            "itk_frame_step": itk_frame_step,
        }

    def verify_suffix(self, filename: Sequence[str | os.PathLike] | str | os.PathLike) -> bool:
        """Accept every file name; the format is detected from the content."""
        return True

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> Any:
        """Store the request; :meth:`get_data` opens the file.

        Args:
            data: a path, or several instances of one series.
            kwargs: options that replace those of the constructor.

        Returns:
            An opaque request.
        """
        return _Request(data, kwargs)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Decode the cine.

        Args:
            img: what :meth:`read` returned.

        Returns:
            (rows, columns, frames) in the file's own dtype (float32 with ``rescale`` or ``voi``), and the metadata.

        Raises:
            CineReadError: if the file cannot be read as a cine.
        """
        request = img if isinstance(img, _Request) else _Request(img, {})
        options = {**self.options, "frames": self.frames, **request.options}
        frames = options.pop("frames")
        cine = open_cine(request.data, **options)
        self._check(cine, request)
        array = cine.read(frames)
        meta = cine.meta_of(frames)
        return array, {key: item for key, item in meta.items() if item is not None}

    def _check(self, cine: Cine, request: _Request) -> None:
        found = cine.meta["source_format"]
        if self.formats is not None and found not in self.formats:
            raise fail(request.data, f"this is a {found} file; read it with CineReader")


class CineDicomReader(CineReader):
    """Reads a DICOM cine, or a folder of single-frame instances; see :class:`CineReader` for the arguments."""

    formats = ("dicom",)


class CineVideoReader(CineReader):
    """Reads an AVI, MP4, MOV, MKV or WMV export, times from its PTS; see :class:`CineReader` for the arguments."""

    formats = ("video",)


class _Request:
    """Path and options passed from ``read`` to ``get_data``."""

    def __init__(self, data: Any, options: Mapping[str, Any]) -> None:
        if isinstance(data, (list, tuple)) and len(data) == 1:
            data = data[0]
        self.data = data
        self.options = dict(options)
