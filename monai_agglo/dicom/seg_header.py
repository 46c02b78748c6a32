"""Attributes of a DICOM segmentation of a cine (PS3.3 A.51 and A.51 LABELMAP), without frames and pixels.

highdicom 0.28 provides the coded content (segments, algorithm). Its ``Segmentation`` constructor refuses a multi-frame
source without Frame of Reference UID ("Only a single frame is supported..."), which projection cines do not have, so
the object is built here with pydicom.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from monai_agglo import __version__
from monai_agglo.swallow import Structure

from .deidentify_uid import remap_uid
from .result_source import ResultSource

__all__ = ["KINDS", "equipment", "seg_header", "series_and_instance"]

KINDS = {"BINARY": "1.2.840.10008.5.1.4.1.1.66.4", "LABELMAP": "1.2.840.10008.5.1.4.1.1.66.7"}
"""SOP class by kind of segmentation."""
SERIES_NUMBER = {"SEG": 9001, "SR": 9002, "OT": 9003}
"""Series numbers above those of scanners, so that results are listed after the images."""
INVENTED = "INVENTED GEOMETRY for viewers"
_TEMPORAL, _SEGMENT, _POSITION = 0x00209128, 0x0062000B, 0x00200032


def equipment(ds: Dataset, model: dict[str, Any] | None) -> None:
    """Set General and Enhanced General Equipment: program, version and weights.

    Args:
        ds: the object.
        model: ``bundle``, ``version`` and ``weights_sha256``, as in the records of ``predict``; None if unknown.
    """
    ds.Manufacturer, ds.ManufacturerModelName = "MONAI Agglo", "monai-agglo"
    # the weights take the place of a serial number
    ds.DeviceSerialNumber = str((model or {}).get("weights_sha256") or "none")[:64]
    ds.SoftwareVersions = __version__


def series_and_instance(ds: Dataset, source: ResultSource, modality: str, description: str) -> None:
    """Set SOP Common, General Series and dates; without identity the dates are placeholders.

    Args:
        ds: the object, with its SOPClassUID.
        source: the source cine.
        modality: SEG, SR or OT.
        description: Series Description.
    """
    now = datetime.datetime.now()
    day, clock = (now.strftime("%Y%m%d"), now.strftime("%H%M%S")) if source.keep_identity else ("20000101", "000000")
    ds.SOPInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, SERIES_NUMBER[modality], 1
    ds.SeriesDescription = description
    ds.SeriesDate = ds.ContentDate = ds.InstanceCreationDate = day
    ds.SeriesTime = ds.ContentTime = ds.InstanceCreationTime = clock


def seg_header(
    source: ResultSource,
    structures: Sequence[Structure],
    shape: tuple[int, int],
    kind: str,
    geometry: tuple[float, float] | None,
    model: dict[str, Any] | None,
    automatic: bool = True,
) -> Dataset:
    """Create all attributes of the object except per-frame attributes and pixels.

    Args:
        source: the cine.
        structures: structures of the segments, in order.
        shape: rows and columns.
        kind: a key of :data:`KINDS`.
        geometry: (row, column) pixel spacing in mm of the invented geometry; None for no geometry.
        model: model that produced the masks, see :func:`equipment`.
        automatic: whether the masks were predicted; False for manual masks.

    Returns:
        The attributes, without NumberOfFrames.
    """
    ds = Dataset()
    source.start(ds)
    ds.SOPClassUID = KINDS[kind]
    label = "Swallow structures" + (" (label map)" if kind == "LABELMAP" else "")
    series_and_instance(ds, source, "SEG", label if geometry is None else f"{label}: {INVENTED}")
    equipment(ds, model)
    ds.ImageType = ["DERIVED", "PRIMARY"]
    if geometry is None:
        # Type 2C: required without plane orientation, may be empty
        ds.PatientOrientation = source.header.get("PatientOrientation") or None
    ds.ContentLabel = "SWALLOW" if geometry is None else "SWALLOW_INVENTED"
    ds.ContentDescription = label if geometry is None else INVENTED
    ds.ContentCreatorName = None
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "01" if source.header.get("LossyImageCompression") == "01" else "00"
    if ds.LossyImageCompression == "01":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if source.header.get(keyword) is not None:
                setattr(ds, keyword, source.header.get(keyword))
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Rows, ds.Columns = shape
    bits = 1 if kind == "BINARY" else 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.SegmentationType = kind
    if kind == "LABELMAP":
        ds.PixelPaddingValue = 0  # background, as in highdicom
    ds.SegmentsOverlap = "NO" if kind == "LABELMAP" else "UNDEFINED"
    ds.SegmentSequence = _segments(structures, kind, model, automatic)
    _references(ds, source)
    _dimensions(ds, kind, geometry is not None)
    shared = Dataset()
    if geometry is not None:
        ds.FrameOfReferenceUID = remap_uid(f"invented for {source.instances[0][1]}")
        ds.PositionReferenceIndicator = None
        ds.ImageComments = f"{INVENTED}: nominal pixel spacing, 1 mm per frame, no position in the patient"
        _invented(shared, geometry)
    ds.SharedFunctionalGroupsSequence = [shared]
    return ds


def _segments(
    structures: Sequence[Structure], kind: str, model: dict[str, Any] | None, automatic: bool
) -> list[Dataset]:
    """One coded segment per structure, numbered by channel, in a label map by structure id."""
    import highdicom as hd

    method = None
    if automatic:
        model = model or {}
        method = hd.AlgorithmIdentificationSequence(
            name=str(model.get("bundle") or "monai-agglo")[:64],
            family=codes.cid7162.ArtificialIntelligence,
            version=str(model.get("version") or __version__),
            source="monai-agglo",
            parameters={"weights_sha256": str(model["weights_sha256"])} if model.get("weights_sha256") else None,
        )
    found = []
    for place, structure in enumerate(structures, 1):
        material = structure.name == "bolus"
        item = hd.seg.SegmentDescription(
            segment_number=structure.id if kind == "LABELMAP" else place,
            segment_label=structure.title,
            segmented_property_category=codes.SCT.Substance if material else codes.SCT.AnatomicalStructure,
            segmented_property_type=Code(*structure.code),
            algorithm_type="AUTOMATIC" if automatic else "MANUAL",
            algorithm_identification=method,
            tracking_id=structure.name,
            tracking_uid=generate_uid(),
            display_color=_cielab(structure.color),
        )
        found.append(item)
    return found


def _cielab(color: tuple[int, int, int]) -> Any:
    """Recommended Display CIELab Value of an sRGB colour."""
    import highdicom as hd
    from PIL import Image, ImageCms

    change = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    pixel = ImageCms.applyTransform(Image.new("RGB", (1, 1), color), change)
    light, a, b = (int(value) for value in np.asarray(pixel)[0, 0])
    # Pillow: L in 0..255; a and b as signed bytes
    a, b = ((v - 256 if v > 127 else v) for v in (a, b))
    return hd.color.CIELabColor(light * 100 / 255, float(a), float(b))


def _references(ds: Dataset, source: ResultSource) -> None:
    """Set Common Instance Reference: the instances of the cine, in one series of the same study."""
    series = Dataset()
    series.SeriesInstanceUID = source.header.SeriesInstanceUID
    series.ReferencedInstanceSequence = []
    for kind, uid in source.instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = kind, uid
        series.ReferencedInstanceSequence.append(item)
    ds.ReferencedSeriesSequence = [series]


def _dimensions(ds: Dataset, kind: str, geometry: bool) -> None:
    """Set the dimensions: segment and time (with invented geometry the position in place of time).

    highdicom cannot read an object with Referenced Frame Number as a dimension.
    """
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    ds.DimensionOrganizationSequence = [organization]
    time = (_POSITION, 0x00209113) if geometry else (_TEMPORAL, 0x00209111)
    pointers = [time] if kind == "LABELMAP" else [(_SEGMENT, 0x0062000A), time]
    ds.DimensionIndexSequence = []
    for pointer, group in pointers:
        item = Dataset()
        item.DimensionOrganizationUID = organization.DimensionOrganizationUID
        item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, group
        ds.DimensionIndexSequence.append(item)


def _invented(shared: Dataset, spacing: tuple[float, float]) -> None:
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing = [f"{value:.6g}" for value in spacing]
    measures.SliceThickness = measures.SpacingBetweenSlices = 1
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
