"""Masks of a cine, kept packed while they are made, and written as one NIfTI file."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from .atomic import atomic_path

__all__ = ["MaskStore"]

MEMORY = 64 << 20
"""Packed masks beyond this many bytes move to a temporary file; ordinary masks take about 1 KB per structure."""


class MaskStore:
    """Masks of a cine, appended frame by frame.

    One bit per pixel, compressed per structure and frame, so that thousands of frames fit in a few megabytes.

    Args:
        shape: rows and columns of a frame.
        channels: structures per frame.
        folder: where a temporary file may be made when the masks outgrow the memory; the system's when None.
    """

    def __init__(self, shape: tuple[int, int], channels: int, folder: str | os.PathLike | None = None) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self.channels = int(channels)
        self._spans: list[list[tuple[int, int]]] = []
        self._areas: list[np.ndarray] = []
        self._end = 0
        place = None if folder is None else os.fspath(folder)
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY, dir=place)  # noqa: SIM115

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._spans)

    def __enter__(self) -> MaskStore:
        return self

    def __exit__(self, *error) -> None:
        self._file.close()

    def append(self, masks: np.ndarray) -> None:
        """Add a frame.

        Args:
            masks: (channels, H, W), non-zero where a structure is.

        Raises:
            ValueError: when the masks have another shape.
        """
        masks = np.asarray(masks) != 0
        if masks.shape != (self.channels, *self.shape):
            raise ValueError(f"masks {masks.shape} in a store of {(self.channels, *self.shape)}")
        spans = []
        self._file.seek(self._end)
        for mask in masks:
            # Columns run slowest in the NIfTI file: packing the transposed mask spares turning it later.
            blob = zlib.compress(np.packbits(mask.T).tobytes(), 1) if mask.any() else b""
            self._file.write(blob)
            spans.append((self._end, len(blob)))
            self._end += len(blob)
        self._spans.append(spans)
        self._areas.append(masks.sum(axis=(1, 2)))

    @property
    def areas(self) -> np.ndarray:
        """Pixels per frame and structure: (T, channels) int64."""
        return np.array(self._areas, np.int64).reshape(len(self), self.channels)

    def frame(self, index: int) -> np.ndarray:
        """The masks of one frame.

        Args:
            index: 0-based frame index.

        Returns:
            (channels, H, W) bool.
        """
        return np.stack([self._mask(index, channel).T for channel in range(self.channels)])

    def _mask(self, index: int, channel: int) -> np.ndarray:
        """One mask, transposed: (W, H) bool."""
        start, length = self._spans[index][channel]
        rows, columns = self.shape
        if not length:
            return np.zeros((columns, rows), bool)
        self._file.seek(start)
        bits = np.frombuffer(zlib.decompress(self._file.read(length)), np.uint8)
        return np.unpackbits(bits, count=rows * columns).reshape(columns, rows).view(bool)

    def write_nifti(self, path: str | os.PathLike, affine: np.ndarray, description: str = "") -> None:
        """Write all masks as one compressed NIfTI-1 file, without holding them in memory.

        Args:
            path: a ``.nii.gz`` file; it appears when it is whole. The same masks give the same bytes.
            affine: 4x4, from (row, column, frame) index to RAS millimetres.
            description: up to 79 ASCII characters for the header's ``descrip``.

        Raises:
            ValueError: when there is no frame, or a size does not fit into NIfTI-1.
        """
        shape = (*self.shape, len(self), self.channels)
        if not len(self) or max(shape) > 32_767:
            raise ValueError(f"{Path(path).name}: masks of shape {shape} do not fit into a NIfTI-1 file")
        # The image is a view of a single zero: only its header is used.
        image = nib.Nifti1Image(np.broadcast_to(np.uint8(0), shape), np.asarray(affine, float))
        header = image.header
        header.set_xyzt_units("mm")
        header["descrip"] = description.encode("ascii", "replace")[:79]
        header["vox_offset"] = 352
        with (
            atomic_path(path) as partial,
            open(partial, "wb") as raw,
            gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=raw, mtime=0) as file,
        ):
            file.write(header.binaryblock + b"\0\0\0\0")
            for channel in range(self.channels):
                for index in range(len(self)):
                    file.write(np.ascontiguousarray(self._mask(index, channel), np.uint8).tobytes())
