"""Masks of a cine, packed in memory and written as one NIfTI file."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np

from monai_agglo.files import atomic_path

__all__ = ["MaskStore"]

MEMORY = 8 << 20
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
        self._spans: list[list[tuple[int, int, tuple[int, int, int, int]]]] = []
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
        masks = np.asarray(masks)
        masks = masks if masks.dtype == bool else masks != 0
        if masks.shape != (self.channels, *self.shape):
            raise ValueError(f"masks {masks.shape} in a store of {(self.channels, *self.shape)}")
        spans = []
        self._file.seek(self._end)
        for mask in masks:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box, blob = (0, 0, 0, 0), b""
            if len(rows):
                box = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
                # Columns run slowest in the NIfTI file: packing the transposed mask spares turning it later.
                body = mask[box[0] : box[1], box[2] : box[3]].T
                blob = zlib.compress(np.packbits(body).tobytes(), 1)
            self._file.write(blob)
            spans.append((self._end, len(blob), box))
            self._end += len(blob)
        self._spans.append(spans)
        self._areas.append(np.array([np.count_nonzero(mask) for mask in masks]))

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
        start, length, (top, bottom, left, right) = self._spans[index][channel]
        mask = np.zeros((self.shape[1], self.shape[0]), bool)
        if length:
            self._file.seek(start)
            bits = np.frombuffer(zlib.decompress(self._file.read(length)), np.uint8)
            rows, columns = bottom - top, right - left
            body = np.unpackbits(bits, count=rows * columns).reshape(columns, rows)
            mask[left:right, top:bottom] = body.view(bool)
        return mask

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
        with atomic_path(path) as partial, open(partial, "wb") as file:
            packed = _Gzip(file)
            packed.write(header.binaryblock + b"\0\0\0\0")
            for channel in range(self.channels):
                for index in range(len(self)):
                    left, right = self._spans[index][channel][2][2:]
                    mask = self._mask(index, channel).view(np.uint8)
                    packed.zeros(left * self.shape[0])
                    packed.write(mask[left:right])
                    packed.zeros((self.shape[1] - right) * self.shape[0])
            packed.close()


class _Gzip:
    """A gzip file (RFC 1952) in which long runs of zeros are compressed once and then repeated as they are.

    Every piece ends on a byte (a full flush), so that pieces can follow each other in any order. Most of a mask is
    zeros: this takes a third of the time of compressing them again and again.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._crc, self._size, self._pending = file, 0, 0, 0
        self._pack = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
        file.write(b"\x1f\x8b\x08" + bytes(6) + b"\xff")  # no time, no name: the same masks give the same bytes

    def write(self, data: bytes | np.ndarray) -> None:
        """Add bytes."""
        plain = data if isinstance(data, bytes) else data.tobytes()
        if plain:
            self._flush_zeros()
            self._file.write(self._pack.compress(plain) + self._pack.flush(zlib.Z_FULL_FLUSH))
            self._crc = zlib.crc32(plain, self._crc)
            self._size += len(plain)

    def zeros(self, count: int) -> None:
        """Add zeros."""
        self._pending += count

    def _flush_zeros(self) -> None:
        while self._pending:
            size = next(size for size in ZEROS if size <= self._pending)
            plain, packed = _zeros(size)
            self._file.write(packed)
            self._crc = zlib.crc32(plain, self._crc)
            self._size += size
            self._pending -= size

    def close(self) -> None:
        """Finish the file."""
        self._flush_zeros()
        self._file.write(self._pack.flush())
        self._file.write(struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))


ZEROS = tuple(1 << power for power in range(18, -1, -1))


@lru_cache(maxsize=len(ZEROS))
def _zeros(size: int) -> tuple[bytes, bytes]:
    """Zeros, plain and as a piece of a deflate stream."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return bytes(size), pack.compress(bytes(size)) + pack.flush(zlib.Z_FULL_FLUSH)
