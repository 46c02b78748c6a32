"""Frame-by-frame writer of multi-frame DICOM files: constant memory, lossless codecs, reproducible bytes."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from types import TracebackType

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

__all__ = ["TRANSFER_SYNTAXES", "MultiFrameWriter", "transfer_syntax_uid"]

TRANSFER_SYNTAXES: dict[str, str] = {
    "jpegls": JPEGLSLossless,
    "rle": RLELossless,
    "none": ExplicitVRLittleEndian,
}
"""Supported lossless transfer syntaxes by short name. ``jpegls`` gives the smallest files (0.2 to 0.45 of the raw size;
a 512 x 512 frame takes 4-6 ms to write, 3 ms to read); ``rle`` is as fast to write, faster to read, twice the size."""

IMPLEMENTATION_CLASS_UID = "2.25.88579626888509890160127440255296767742"
IMPLEMENTATION_VERSION = "MONAI_AGGLO"
LARGEST_ELEMENT = 0xFFFFFFFE


def transfer_syntax_uid(name: str) -> str:
    """UID of a transfer syntax given by short name or by UID.

    Args:
        name: a key of :data:`TRANSFER_SYNTAXES`, or one of its UIDs.

    Returns:
        The UID.

    Raises:
        ValueError: unknown name or UID.
    """
    uid = TRANSFER_SYNTAXES.get(str(name), str(name))
    if uid not in TRANSFER_SYNTAXES.values():
        raise ValueError(f"cannot write transfer syntax {name!r}; choose one of {', '.join(TRANSFER_SYNTAXES)}")
    return str(uid)


def _jpegls(frame: np.ndarray, bits_stored: int) -> bytes:
    import jpeg_ls

    rows, columns = frame.shape
    # not imagecodecs: it always writes a precision of 8 or 16 bits, which must equal BitsStored
    return bytes(
        jpeg_ls.encode_pixel_data(
            frame.tobytes(), rows=rows, columns=columns, samples_per_pixel=1, bits_stored=bits_stored
        )
    )


def _rle(frame: np.ndarray, bits_stored: int) -> bytes:
    from rle.utils import encode_pixel_data

    rows, columns = frame.shape
    layout = {"rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_allocated": frame.itemsize * 8}
    return encode_pixel_data(frame.tobytes(), byteorder="<", **layout)


_ENCODERS: dict[str, Callable[[np.ndarray, int], bytes]] = {JPEGLSLossless: _jpegls, RLELossless: _rle}


class MultiFrameWriter:
    """Writes a monochrome multi-frame DICOM file one frame at a time.

    Attributes are written first, then each frame; the Basic Offset Table is filled in at the end. Use as a context
    manager. The caller passes a temporary name and renames the file on success.

    Args:
        path: the file to write.
        header: all attributes except Pixel Data; Rows, Columns, NumberOfFrames, BitsAllocated and BitsStored define the
            frames.
        transfer_syntax: short name or UID, see :data:`TRANSFER_SYNTAXES`.

    Raises:
        ValueError: unsupported transfer syntax, or the file would exceed DICOM's limit of 4 GiB.
    """

    def __init__(self, path: str | os.PathLike, header: Dataset, transfer_syntax: str = "jpegls"):
        self.transfer_syntax = transfer_syntax_uid(transfer_syntax)
        self.shape = (int(header.Rows), int(header.Columns))
        self.n_frames = int(header.NumberOfFrames)
        self.bits_stored = int(header.BitsStored)
        self.dtype = np.dtype("<u2" if int(header.BitsAllocated) == 16 else "u1")
        self._path = path
        self._header = header
        self._offsets: list[int] = []
        self._raw_size = self.n_frames * self.shape[0] * self.shape[1] * self.dtype.itemsize
        if not self.encapsulated and self._raw_size > LARGEST_ELEMENT:
            raise ValueError("the uncompressed cine exceeds DICOM's limit of 4 GiB; compress it")

    @property
    def encapsulated(self) -> bool:
        """Whether frames are compressed."""
        return self.transfer_syntax in _ENCODERS

    def __enter__(self) -> MultiFrameWriter:
        self._file = open(self._path, "w+b")
        self._file.write(_header_bytes(self._header, self.transfer_syntax))
        if self.encapsulated:
            self._file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
            self._file.write(struct.pack("<HHL", 0xFFFE, 0xE000, 4 * self.n_frames))
            self._table = self._file.tell()
            self._file.write(bytes(4 * self.n_frames))
            self._first = self._file.tell()
        else:
            vr = b"OW" if self.dtype.itemsize == 2 else b"OB"
            self._file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, vr, 0, self._raw_size + self._raw_size % 2))
        return self

    def encode(self, frame: np.ndarray) -> bytes:
        """Compress one frame.

        Args:
            frame: (H, W) stored values, unsigned, within BitsStored.

        Returns:
            Data for :meth:`append`; of a repeated frame they can be reused.

        Raises:
            ValueError: the shape or a pixel value does not match the header.
        """
        if frame.shape != self.shape:
            raise ValueError(
                f"a frame has {frame.shape[0]} x {frame.shape[1]} pixels, the header {self.shape[0]} x {self.shape[1]}"
            )
        if frame.size and int(frame.max()) >= 1 << self.bits_stored:
            raise ValueError(f"pixel value {int(frame.max())} does not fit {self.bits_stored} bits")
        stored = np.ascontiguousarray(frame, self.dtype)
        return _ENCODERS[self.transfer_syntax](stored, self.bits_stored) if self.encapsulated else stored.tobytes()

    def append(self, data: bytes) -> None:
        """Write the next frame.

        Args:
            data: the frame from :meth:`encode`.
        """
        if self.encapsulated:
            self._offsets.append(self._file.tell() - self._first)
            data += b"\0" * (len(data) % 2)
            self._file.write(struct.pack("<HHL", 0xFFFE, 0xE000, len(data)))
        else:
            self._offsets.append(len(self._offsets))
        self._file.write(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._finish()

    def _finish(self) -> None:
        if len(self._offsets) != self.n_frames:
            raise ValueError(f"{len(self._offsets)} frames were written, but NumberOfFrames is {self.n_frames}")
        if not self.encapsulated:
            self._file.write(b"\0" * (self._raw_size % 2))
            return
        if self._offsets[-1] > LARGEST_ELEMENT:
            raise ValueError("the compressed cine exceeds the 4 GiB limit of its offset table; write fewer frames")
        self._file.write(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))
        self._file.seek(self._table)
        self._file.write(struct.pack(f"<{self.n_frames}L", *self._offsets))


def _header_bytes(header: Dataset, transfer_syntax: str) -> bytes:
    """Preamble, file meta information and all attributes, explicit little endian."""
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta.TransferSyntaxUID = transfer_syntax
    header.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    header.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    buffer = io.BytesIO()
    if int(pydicom.__version__.split(".")[0]) >= 3:
        pydicom.dcmwrite(buffer, header, enforce_file_format=True)
    else:
        header.is_little_endian, header.is_implicit_VR = True, False
        pydicom.dcmwrite(buffer, header, write_like_original=False)
    return buffer.getvalue()
