"""Open a DICOM file, or a folder of single-frame instances, as a frame source with metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .decode import SYNTAXES, PixelFormat
from .errors import CineReadError, check_size, fail
from .frames import EncapsulatedFrames, FrameSource, NativeFrames, pixel_format
from .grey import GreyMap
from .header import DicomHeader, is_dicom, number, read_header, text, value
from .identity import file_pseudonym, pseudonym
from .kind import is_projection, modality_of, view_of
from .spacing import cine_affine, dicom_spacing, itk_frame_step, itk_placement, itk_spacing, pixel_aspect
from .timing import Timing, dicom_timing, instance_time, instance_timing
from .video import DicomVideoFrames, VideoFrames


@dataclass(frozen=True)
class CineOptions:
    """Reading options of a cine.

    Args:
        rescale: apply the modality LUT or rescale slope and intercept (float32).
        voi: apply the VOI LUT or window (float32 in [0, 2**bits_stored - 1]).
        any_modality: accept files other than projection images.
        series: index of the series to read from a folder with several, from 0.
        itk_spacing: use ITK's spacing in the affine (ImagerPixelSpacing as stored), for overlays in ITK viewers; False
            for the calibrated spacing. ``spacing_mm`` is always the calibrated one.
        itk_frame_step: use ITK's frame step in the affine (X-ray cines: the frame time in ms as mm), for label maps
            overlaid on images read by ITK; False for a step of 1.
    """

    rescale: bool = False
    voi: bool = False
    any_modality: bool = False
    series: int | None = None
    itk_spacing: bool = True
    itk_frame_step: bool = False


def open_dicom(path: str | os.PathLike, options: CineOptions, shown: object | None = None) -> tuple[FrameSource, dict]:
    """Open one DICOM file.

    Args:
        path: the file.
        options: reading options.
        shown: path shown in error messages; ``path`` by default.

    Returns:
        The frame source and the metadata.

    Raises:
        CineReadError: the file cannot be read as a cine.
    """
    shown = path if shown is None else shown
    header = _checked_header(path, options, shown)
    source, form = _source(header, options, shown)
    timing = dicom_timing(header.dataset, source.shape[2])
    if timing.times_ms is None and isinstance(source, VideoFrames):  # time stamps of the stream: a display rate
        timing = replace(source.timing, assumed=True)
    return source, _meta(header, form, options, timing)


def open_series(paths: Sequence[str | os.PathLike], options: CineOptions, shown: object) -> tuple[FrameSource, dict]:
    """Open a folder's DICOM files as one cine: one multi-frame file, or single-frame instances of one series.

    Args:
        paths: candidate files; other files than DICOM images are skipped.
        options: reading options; ``series`` selects one of several series.
        shown: folder shown in error messages.

    Returns:
        The frame source and the metadata.

    Raises:
        CineReadError: no image, several cines, or inconsistent instances.
    """
    cines = group_cines(paths, shown)
    if not cines:
        raise fail(shown, "it contains no DICOM image")
    pick = options.series
    if pick is None and len(cines) > 1:
        raise fail(
            shown,
            f"it contains {len(cines)} series or cines; give one file, or select one with series=0 to {len(cines) - 1}",
        )
    if pick is not None and not 0 <= pick < len(cines):
        raise fail(shown, f"series {pick} does not exist: it contains {len(cines)}, counted from 0")
    headers = cines[pick or 0]
    if len(headers) == 1:
        return open_dicom(headers[0].path, options, shown)
    check_size(shown, 1, 1, len(headers))
    headers = order_instances(headers, shown)
    opened = []
    for header in headers:
        _check_kind(header, options, shown)
        source, form = _source(header, options, shown)
        opened.append((source, form))
    forms = {(source.shape, source.dtype, form.photometric, form.stored) for source, form in opened}
    if len(forms) > 1:
        raise fail(shown, "the instances of the series differ in size or pixel format")
    timing = instance_timing([header.dataset for header in headers])
    series = SeriesFrames([source for source, _ in opened], shown)
    return series, _meta(headers[0], opened[0][1], options, timing, text(headers[0].dataset, "SeriesInstanceUID"))


class SeriesFrames(FrameSource):
    """Frames of ordered single-frame instances.

    Args:
        sources: one source of one frame per instance.
        shown: folder shown in error messages.
    """

    def __init__(self, sources: Sequence[FrameSource], shown: object) -> None:
        rows, cols, _ = sources[0].shape
        super().__init__(shown, (rows, cols, len(sources)), sources[0].dtype)
        self._sources = list(sources)

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        for index in wanted:
            yield from self._sources[index].frames([0])


def order_instances(headers: Sequence[DicomHeader], shown: object) -> list[DicomHeader]:
    """Sort instances by InstanceNumber, or by acquisition time where the numbers are missing or not unique.

    Args:
        headers: single-frame instances of one series.
        shown: folder shown in error messages.

    Returns:
        The sorted headers without duplicate instances.

    Raises:
        CineReadError: neither tag defines an order.
    """
    unique: dict[str, DicomHeader] = {}
    for header in sorted(headers, key=lambda header: header.path):
        unique.setdefault(text(header.dataset, "SOPInstanceUID") or header.path, header)
    instances = list(unique.values())
    for key in (lambda header: number(header.dataset, "InstanceNumber"), lambda header: instance_time(header.dataset)):
        keys = [key(header) for header in instances]
        if None not in keys and len(set(keys)) == len(keys):
            return [header for _, header in sorted(zip(keys, instances), key=lambda pair: pair[0])]  # type: ignore[arg-type,return-value]
    raise fail(shown, "its instances cannot be ordered: neither InstanceNumbers nor acquisition times are unique")


def group_cines(paths: Sequence[str | os.PathLike], shown: object) -> list[list[DicomHeader]]:
    """Group files into cines: each multi-frame file is a cine, and so are the single frames of a series."""
    groups: dict[tuple, list[DicomHeader]] = {}
    for path in paths:
        try:
            if not is_dicom(path):
                continue
            header = read_header(path, pixels=False)
        except (CineReadError, OSError):  # an unreadable file must not hide the series
            continue
        if header.offset < 0 or text(header.dataset, "SOPClassUID") == "1.2.840.10008.1.3.10":
            continue
        many = (number(header.dataset, "NumberOfFrames") or 1) > 1
        series = text(header.dataset, "SeriesInstanceUID")
        groups.setdefault((series, os.fspath(path) if many else ""), []).append(header)
    return list(groups.values())


def _checked_header(path: str | os.PathLike, options: CineOptions, shown: object) -> DicomHeader:
    try:
        header = read_header(path, shown)
    except CineReadError as error:
        # Of another kind of object (CT, dose) report the modality instead of the missing pixels.
        if "no pixel data" in str(error):
            _check_kind(read_header(path, shown, pixels=False), options, shown, only_known=True)
        raise
    _check_kind(header, options, shown)
    return header


def _check_kind(header: DicomHeader, options: CineOptions, shown: object, only_known: bool = False) -> None:
    if options.any_modality or is_projection(header.dataset):
        return
    modality = modality_of(header.dataset)
    if only_known and not modality:
        return
    name = f"modality {modality}" if modality else "unknown modality and SOP class"
    raise fail(shown, f"not a projection cine ({name}); any_modality=True reads it anyway")


def _source(header: DicomHeader, options: CineOptions, shown: object) -> tuple[Any, PixelFormat]:
    syntax = SYNTAXES.get(header.syntax)
    if syntax is None:
        known = (
            header.syntax
            if header.syntax.replace(".", "").isdigit() and header.syntax.startswith("1.2.840.10008.")
            else "private"
        )
        raise fail(shown, f"its transfer syntax is not supported ({known}); export it as explicit little endian")
    form, frames = pixel_format(header, shown)
    if syntax.kind == "video":
        return DicomVideoFrames(header, form, frames, syntax, shown), form
    grey = GreyMap(header, form, options.rescale, options.voi, shown)
    kind = NativeFrames if syntax.kind == "native" else EncapsulatedFrames
    return kind(header, form, frames, grey, shown), form


def _meta(
    header: DicomHeader, form: PixelFormat, options: CineOptions, timing: Timing, name: str = ""
) -> dict[str, Any]:
    dataset = header.dataset
    spacing = dicom_spacing(dataset)
    nominal = itk_spacing(dataset) if options.itk_spacing else spacing.nominal
    uid = name or text(dataset, "SOPInstanceUID")
    patient = text(dataset, "PatientID")
    issuer = text(dataset, "IssuerOfPatientID")
    return {
        "source_format": "dicom",
        "timing": timing,
        "spacing": spacing,
        "affine": cine_affine(nominal, *itk_placement(dataset)),
        "frame_step": itk_frame_step(dataset),
        "pixel_aspect": pixel_aspect(dataset),
        "modality": modality_of(dataset) or None,
        "photometric": form.photometric,
        "bits_stored": form.stored,
        "lossy": SYNTAXES[header.syntax].lossy or text(dataset, "LossyImageCompression") == "01",
        "mask_subtraction": value(dataset, "MaskSubtractionSequence") is not None,
        "view": view_of(dataset),
        "pseudonym": pseudonym(uid) if uid else file_pseudonym(header.path),
        "patient_pseudonym": pseudonym(f"{issuer}\0{patient}", "patient") if patient else None,
    }
