"""DICOM segmentations of a cine, written frame by frame: memory does not grow with the length of the cine."""

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

    One segment per structure with its code; each frame names the frame of the cine that it belongs to (Referenced Frame
    Number; the instance, where a cine is a series of single frames). There is no Frame of Reference and no patient
    coordinate, as there is none in a projection cine.

    Args:
        path: the file; it appears when it is whole.
        source: the DICOM cine: a file, the files or folder of a series, or what :meth:`ResultSource.read` gave.
        masks: (S, H, W) per frame of the cine, non-zero where a structure is, in order; taken one at a time.
        structures: what each channel is.
        kind: ``BINARY`` (one bit per structure: overlaps are kept, frames without a structure are left out for it) or
            ``LABELMAP`` (one label per pixel: the structure of highest priority wins; smaller, fewer readers).
        geometry: pixel spacing (row, column) in mm, to write a copy for viewers that cannot show a segmentation without
            patient coordinates. The coordinates are invented, one millimetre per frame, and the object says so.
        keep_identity: patient, study and UIDs of the source, for the PACS that the cine came from; see
            :meth:`ResultSource.read`. Not used when ``source`` has been read already.
        model: what made the masks (``bundle``, ``version``, ``weights_sha256``); None when unknown.
        automatic: whether a network made the masks; False for masks that a person drew.

    Returns:
        The path.

    Raises:
        ValueError: when masks and cine do not fit together, or the object would pass 4 GiB.
        CineReadError: when the source is no DICOM cine.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no segmentation kind {kind!r}; choose one of {', '.join(KINDS)}")
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
    """Functional groups and pixels of the frames, kept in two files that leave the memory when they grow."""

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
        """The masks (S, H, W) of the next frame of the cine."""
        if masks.shape != (len(self.structures), *self.shape):
            raise ValueError(
                f"masks of shape {masks.shape} do not fit a cine of {self.shape[0]} x {self.shape[1]} pixels and "
                f"{len(self.structures)} structures (want structures, rows, columns)"
            )
        if self.seen >= self.source.frames:
            raise ValueError(f"there are masks for more frames than the {self.source.frames} of the cine")
        if self.binary:
            for part, mask in enumerate(masks, 1):
                if mask.any():
                    self._bits(mask != 0, part)
        else:
            self._labels(flatten(masks, self.structures))
        self.seen += 1

    def close(self) -> None:
        """All frames have come."""
        if self.seen != self.source.frames:
            raise ValueError(f"there are masks for {self.seen} frames, and the cine has {self.source.frames}")
        if not self.written:  # an object without frames is not valid: one empty frame says that nothing was found
            self.seen = 0
            self._bits(np.zeros(self.shape, bool), 1)
        if self.binary and self._rest.size:
            self.pixels.write(np.packbits(self._rest, bitorder="little").tobytes())
        if max(self.pixels.tell(), self.groups.tell()) > _LARGEST:
            raise ValueError("the segmentation passes 4 GiB, which DICOM cannot hold; write a LABELMAP")

    def _bits(self, mask: np.ndarray, part: int) -> None:
        # frames follow each other without padding: the bits that fill no byte wait for the next frame
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
    """Preamble, file meta, attributes, functional groups per frame, pixels: in the order of their tags."""
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
