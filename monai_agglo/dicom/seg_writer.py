"""Frame-by-frame writer of DICOM segmentations, in constant memory."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from monai_agglo.files import atomic_path
from monai_agglo.swallow import TARGETS, Structure, flatten

from .result_source import ResultSource
from .seg_frames import frame_item
from .seg_header import KINDS, seg_header

__all__ = ["write_seg"]

_SPOOL = 32 << 20
_CHUNK = 1 << 16
_LARGEST = 0xFFFFFFFE


def write_seg(
    path: str | os.PathLike,
    source: ResultSource | str | os.PathLike | Sequence[str | os.PathLike],
    masks: Iterable[np.ndarray],
    structures: Sequence[Structure] = TARGETS,
    *,
    kind: str = "BINARY",
    geometry: tuple[float, float] | None = None,
    keep_identity: bool = False,
    model: dict[str, Any] | None = None,
    automatic: bool = True,
) -> Path:
    """Write masks of a cine as a DICOM Segmentation.

    There is one coded segment per structure. Each frame refers to its frame of the cine by Referenced Frame Number, or
    to the instance of a single-frame series. As in projection cines, there are no Frame of Reference and no patient
    coordinates.

    Args:
        path: the file, written atomically.
        source: the DICOM cine: a file, the files or folder of a series, or a :class:`ResultSource`.
        masks: (S, H, W) masks of each frame of the cine, non-zero inside a structure; consumed one at a time.
        structures: structures of the channels.
        kind: ``BINARY`` (one bit per structure: keeps overlaps, omits frames without the structure) or ``LABELMAP``
            (one label per pixel: keeps the structure of highest priority; smaller, supported by fewer readers).
        geometry: (row, column) pixel spacing in mm, for viewers that require patient coordinates. The coordinates are
            invented (1 mm per frame) and marked as such.
        keep_identity: keep patient, study and UIDs of the source, for the PACS of the cine, see
            :meth:`ResultSource.read`. Ignored if ``source`` is a :class:`ResultSource`.
        model: model that produced the masks (``bundle``, ``version``, ``weights_sha256``); None if unknown.
        automatic: whether the masks were predicted; False for manual masks.

    Returns:
        The path.

    Raises:
        ValueError: masks and cine are inconsistent, or the object would exceed 4 GiB.
        CineReadError: the source is not a DICOM cine.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown segmentation kind {kind!r}; choose one of {', '.join(KINDS)}")
    if not isinstance(source, ResultSource):
        source = ResultSource.read(source, keep_identity=keep_identity)
    shape = (int(source.header.Rows), int(source.header.Columns))
    header = seg_header(source, structures, shape, kind, geometry, model, automatic)
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        spools = [
            stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL, dir=str(place.parent))) for _ in range(2)
        ]
        frames = _Frames(source, structures, shape, kind, geometry is not None, *spools)
        for masks_of_frame in masks:
            frames.add(np.asarray(masks_of_frame))
        frames.close()
        header.NumberOfFrames = frames.written
        with atomic_path(place) as partial, open(partial, "wb") as file:
            _write(file, header, frames)
    return place


class _Frames:
    """Functional groups and pixels of the frames, in two spooled temporary files."""

    def __init__(
        self,
        source: ResultSource,
        structures: Sequence[Structure],
        shape: tuple[int, int],
        kind: str,
        geometry: bool,
        groups: Any,
        pixels: Any,
    ) -> None:
        self.source, self.structures, self.shape, self.geometry = source, structures, shape, geometry
        self.binary = kind == "BINARY"
        self.groups, self.pixels = groups, pixels
        self.lengths: list[int] = []  # of the compressed frames
        self.written = self.seen = 0
        self._rest = np.zeros(0, bool)

    def add(self, masks: np.ndarray) -> None:
        """Add the masks (S, H, W) of the next frame of the cine."""
        if masks.shape != (len(self.structures), *self.shape):
            raise ValueError(
                f"masks of shape {masks.shape} do not match a cine of {self.shape[0]} x {self.shape[1]} pixels and "
                f"{len(self.structures)} structures (expected: structures, rows, columns)"
            )
        if self.seen >= self.source.frames:
            raise ValueError(f"masks of more than the {self.source.frames} frames of the cine")
        if self.binary:
            for part, mask in enumerate(masks, 1):
                if mask.any():
                    self._bits(mask != 0, part)
        else:
            self._labels(flatten(masks, self.structures))
        self.seen += 1

    def close(self) -> None:
        """Check and complete the frames."""
        if self.seen != self.source.frames:
            raise ValueError(f"masks of {self.seen} frames for a cine of {self.source.frames} frames")
        if not self.written:  # an object needs a frame: write an empty one if nothing was found
            self.seen = 0
            self._bits(np.zeros(self.shape, bool), 1)
        if self.binary and self._rest.size:
            self.pixels.write(np.packbits(self._rest, bitorder="little").tobytes())
        if max(self.pixels.tell(), self.groups.tell()) > _LARGEST:
            raise ValueError("the segmentation exceeds DICOM's limit of 4 GiB; write a LABELMAP")

    def _bits(self, mask: np.ndarray, part: int) -> None:
        # frames are not padded: the bits of an incomplete byte are kept for the next frame
        bits = np.concatenate([self._rest, mask.ravel()])
        whole = bits.size - bits.size % 8
        self.pixels.write(np.packbits(bits[:whole], bitorder="little").tobytes())
        self._rest = bits[whole:]
        self._group(part, part)

    def _labels(self, labels: np.ndarray) -> None:
        from rle.utils import encode_pixel_data

        rows, columns = self.shape
        layout = {"rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_allocated": 8}
        data = encode_pixel_data(labels.tobytes(), byteorder="<", **layout)
        data += b"\0" * (len(data) % 2)
        self.pixels.write(data)
        self.lengths.append(len(data))
        self._group(None, 1)

    def _group(self, segment: int | None, part: int) -> None:
        self.groups.write(frame_item(self.source, self.seen, segment, part, self.geometry))
        self.written += 1


def _write(file: BinaryIO, header: Dataset, frames: _Frames) -> None:
    """Write preamble, file meta, attributes, per-frame functional groups and pixels, in tag order."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if frames.binary else RLELossless
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    head = io.BytesIO()
    dcmwrite(head, header, enforce_file_format=True)
    file.write(head.getvalue())
    file.write(struct.pack("<HH2sHL", 0x5200, 0x9230, b"SQ", 0, frames.groups.tell()))
    frames.groups.seek(0)
    shutil.copyfileobj(frames.groups, file, _CHUNK)
    size = frames.pixels.tell()
    frames.pixels.seek(0)
    if frames.binary:
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, size + size % 2))
        shutil.copyfileobj(frames.pixels, file, _CHUNK)
        file.write(b"\0" * (size % 2))
        return
    file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
    starts = np.cumsum([0, *(length + 8 for length in frames.lengths[:-1])], dtype="<u4")
    file.write(struct.pack("<HHL", 0xFFFE, 0xE000, starts.nbytes) + starts.tobytes())
    for length in frames.lengths:
        file.write(struct.pack("<HHL", 0xFFFE, 0xE000, length) + frames.pixels.read(length))
    file.write(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))
