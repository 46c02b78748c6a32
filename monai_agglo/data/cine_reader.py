"""MONAI readers for cines: ``LoadImaged(reader="monai_agglo.data.CineReader")``.

The file is opened in ``get_data``, never in ``read``: MONAI's ``LoadImage`` swallows what ``read`` raises and goes on
to another reader, which would return other axes. So whatever is wrong with a file reaches the user as one sentence.
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

    The metadata carries what cannot be told from an array: ``frame_times_ms``, ``time_source``, ``spacing_mm``,
    ``repeated_frames`` and so on, see :class:`~monai_agglo.data.Cine`. Entries that the file does not give are left
    out, because MONAI cannot batch None. Per-frame lists cannot be batched either when cines differ in length:
    load with ``LoadImaged(..., prune_meta_pattern="frame_times_ms|repeated_frames")`` for batches of more than one.

    Args:
        frames: which frames to decode: a slice or ascending numbers, None for all.
        rescale: apply the modality LUT or rescale slope and intercept; the array is float32.
        voi: apply the VOI LUT or window; the array is float32 in [0, 2**bits_stored - 1].
        any_modality: read CT, MR and other files that are no projection cine as well.
        series: which series of a folder to take, when it holds several.
        itk_spacing: give the affine the spacing that ITK gives the cine, so that a mask lies on it in ITK viewers;
            False gives it the calibrated one, which ``spacing_mm`` holds in any case.
        itk_frame_step: put the frames as far apart in the affine as ITK does, which is their frame time in ms; False
            puts them 1 apart.
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
        """Every name is taken: the content decides."""
        return True

    def read(self, data: Sequence[str | os.PathLike] | str | os.PathLike, **kwargs: Any) -> Any:
        """Note what to read; it is opened in :meth:`get_data`.

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
            CineReadError: it cannot be read as a cine.
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
    """A path and options, on their way from ``read`` to ``get_data``."""

    def __init__(self, data: Any, options: Mapping[str, Any]) -> None:
        if isinstance(data, (list, tuple)) and len(data) == 1:
            data = data[0]
        self.data = data
        self.options = dict(options)
