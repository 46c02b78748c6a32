"""The overlay cine as a DICOM secondary capture (true colour, JPEG)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import JPEGBaseline8Bit
from pydicom.valuerep import format_number_as_ds

from monai_agglo.files import atomic_path
from monai_agglo.pictures.overlay import OverlayVideo
from monai_agglo.swallow import TARGETS, Structure

from .result_source import ResultSource
from .seg_header import equipment, series_and_instance

__all__ = ["write_overlay_dicom"]

TRUE_COLOUR_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.4"
QUALITY = 90


def write_overlay_dicom(
    path: str | os.PathLike,
    source: ResultSource,
    frames: Iterable[np.ndarray],
    masks: Iterable[np.ndarray],
    structures: Sequence[Structure] = TARGETS,
    *,
    times_ms: Sequence[float] | None = None,
    window: tuple[float, float] | None = None,
    model: dict[str, Any] | None = None,
) -> Path:
    """Write a cine with its masks drawn on it as a Multi-frame True Color Secondary Capture.

    Args:
        path: the file, written atomically.
        source: the cine; determines patient and study.
        frames: (H, W) frames of the cine, consumed one at a time. To drop identity, blank them with
            :func:`~monai_agglo.cine.exposed_field.blank_outside` first.
        masks: (S, H, W) masks, one per frame.
        structures: structures of the channels.
        times_ms: frame times in ms, for the playback rate; None if unknown.
        window: grey levels shown as black and white; by default the range of the first frame.
        model: model that produced the masks, see :func:`~monai_agglo.dicom.seg_header.equipment`.

    Returns:
        The path.

    Raises:
        ValueError: frames, masks and cine differ in number or size.
    """
    painter = OverlayVideo(
        "",
        structures,
        times_ms,
        total=source.frames,
        window=window,
        side_by_side=False,
        title="masks made by a program",
    )  # used for drawing only, no video is written
    with atomic_path(path) as partial, open(partial, "wb") as file:
        offsets: list[int] = []
        start = table = 0
        for frame, mask in zip(frames, masks):
            image = painter.compose(np.asarray(frame), np.asarray(mask))
            painter.window = painter.window or (float(np.min(frame)), float(np.max(frame)))
            if not painter.count:
                table = _write_header(file, _header(source, image.shape, times_ms, model))
                start = file.tell()
            painter.count += 1
            data = _jpeg(image)
            offsets.append(file.tell() - start)
            file.write(struct.pack("<HHL", 0xFFFE, 0xE000, len(data)) + data)
        if painter.count != source.frames:
            raise ValueError(f"the overlay has {painter.count} of the {source.frames} frames of the cine")
        if offsets[-1] > 0xFFFFFFFE:
            raise ValueError("the overlay exceeds DICOM's limit of 4 GiB")
        file.write(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))
        file.seek(table)
        file.write(struct.pack(f"<{len(offsets)}L", *offsets))
    return Path(path)


def _header(
    source: ResultSource, shape: tuple[int, ...], times_ms: Sequence[float] | None, model: dict[str, Any] | None
) -> Dataset:
    ds = Dataset()
    source.start(ds)
    ds.SOPClassUID = TRUE_COLOUR_CAPTURE
    series_and_instance(ds, source, "OT", "Swallow structures, drawn on the cine")
    equipment(ds, model)
    ds.Laterality, ds.ConversionType = None, "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    ds.PatientOrientation = source.header.get("PatientOrientation") or None
    ds.BurnedInAnnotation = "YES"  # the drawn masks
    ds.ImageComments = "Research use only"
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    ds.LossyImageCompressionRatio = "10"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.Rows, ds.Columns, ds.NumberOfFrames = shape[0], shape[1], source.frames
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID, _ = source.reference(0)
    ds.SourceImageSequence = [reference]
    steps = np.diff(times_ms) if times_ms is not None else np.zeros(0)
    if not len(steps):
        ds.PageNumberVector = list(range(1, source.frames + 1))  # without frame times
        ds.FrameIncrementPointer = Tag("PageNumberVector")
    elif np.ptp(steps) < 0.01:
        ds.FrameTime = format_number_as_ds(float(np.mean(steps)))
        ds.FrameIncrementPointer = Tag("FrameTime")
    else:
        ds.FrameTimeVector = [format_number_as_ds(float(step)) for step in (0.0, *np.round(steps, 4))]
        ds.FrameIncrementPointer = Tag("FrameTimeVector")
    if len(steps) and np.mean(steps) > 0:
        ds.RecommendedDisplayFrameRate = ds.CineRate = max(1, round(1000 / float(np.mean(steps))))
    return ds


def _write_header(file: BinaryIO, ds: Dataset) -> int:
    """Write all attributes and the start of the pixel data; returns the position of the offset table."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    dcmwrite(file, ds, enforce_file_format=True)
    count = int(ds.NumberOfFrames)
    file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
    file.write(struct.pack("<HHL", 0xFFFE, 0xE000, 4 * count))
    table = file.tell()
    file.write(bytes(4 * count))
    return table


def _jpeg(image: np.ndarray) -> bytes:
    """JPEG baseline codestream with 4:2:2 chroma subsampling, as required by YBR_FULL_422."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    ]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError("the overlay cannot be encoded as JPEG")
    return data.tobytes() + b"\0" * (len(data) % 2)
