"""The attributes of a synthetic X-Ray Radiofluoroscopic image (PS3.3 A.16), module by module."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import format_number_as_ds

from .field_shape import FieldShape
from .spec import PhantomSpec

__all__ = ["XRF_STORAGE", "synthetic_uid", "xrf_header"]

XRF_STORAGE = "1.2.840.10008.5.1.4.1.1.12.2"
SOURCE_TO_DETECTOR_MM = 1100.0
"""Typical of a fluoroscopy unit; the source-patient distance follows from the magnification."""
DATE, TIME = "20000101", "120000"
"""Dummy date; required by the modules."""
IDDSI = ("thin", "slightly thick", "mildly thick", "moderately thick", "extremely thick")


def synthetic_uid(*parts: object) -> str:
    """Deterministic UID under 2.25.

    Args:
        parts: JSON-able values.

    Returns:
        The UID, at most 44 characters; equal parts give equal UIDs.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def xrf_header(
    spec: PhantomSpec,
    times_ms: Sequence[float] | np.ndarray,
    field: FieldShape | None = None,
    *,
    version: str,
    frames: Sequence[int] | None = None,
) -> Dataset:
    """Every attribute of the cine except Pixel Data.

    Args:
        spec: the study.
        times_ms: time of each frame in the file, ms from the start of the study.
        field: the exposed field in pixels; None for the whole image.
        version: version of the generator, for Software Versions and the UIDs.
        frames: frames of the study in the file; None for all.

    Returns:
        The data set, ready for :class:`MultiFrameWriter`.
    """
    ds = Dataset()
    identity = [version, spec.to_dict(), None if frames is None else [int(t) for t in frames]]
    _patient_and_study(ds, spec, version)
    ds.SeriesInstanceUID = synthetic_uid("series", *identity)
    ds.SOPInstanceUID = synthetic_uid("instance", *identity)
    _image(ds, spec)
    _cine(ds, spec, np.asarray(times_ms, float))
    _xray(ds, spec)
    if field is not None:
        _collimator(ds, field, shutter=spec.burnt_in_text is None)
    return ds


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return format_number_as_ds(float(value))


def _patient_and_study(ds: Dataset, spec: PhantomSpec, version: str) -> None:
    """Patient, General Study, Patient Study, General Series, General Equipment and SOP Common."""
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = XRF_STORAGE
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = DATE
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = TIME
    ds.AccessionNumber = ""
    ds.Modality = "RF"
    ds.Manufacturer = "MONAI Agglo"
    ds.ManufacturerModelName = "phantom"
    ds.SoftwareVersions = version
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Synthetic swallowing study (phantom)"
    ds.SeriesDescription = f"Swallow {'AP' if spec.view == 'ap' else 'lateral'}, synthetic"
    ds.PatientName = f"PHANTOM^SEED{spec.seed}"
    ds.PatientID = spec.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = ""
    ds.PatientAge = f"{max(1, round(spec.age)):03d}Y"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Synthetic: there is no patient"
    ds.BodyPartExamined = "NECK"
    ds.StudyInstanceUID = synthetic_uid("study", version, spec.patient_id, spec.seed)
    ds.StudyID = "1"
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1


def _image(ds: Dataset, spec: PhantomSpec) -> None:
    """General Image, Image Pixel, VOI LUT and X-Ray Image."""
    allocated = 8 if spec.bits_stored <= 8 else 16
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.ImageComments = "synthetic"
    ds.BurnedInAnnotation = "YES" if spec.burnt_in_text else "NO"
    ds.RecognizableVisualFeatures = "NO"
    ds.LossyImageCompression = "00"
    across = "L" if spec.view == "ap" else {"left": "P", "right": "A"}[spec.facing]
    ds.PatientOrientation = [across, "F"]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = spec.photometric
    ds.Rows, ds.Columns = spec.rows, spec.cols
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, spec.bits_stored, spec.bits_stored - 1
    ds.PixelRepresentation = 0
    # after display curve and window, values are neither linear nor logarithmic in exposure:
    # no valid Modality LUT exists
    ds.PixelIntensityRelationship = "DISP"
    ds.WindowCenter = _ds(2 ** (spec.bits_stored - 1))
    ds.WindowWidth = _ds(2**spec.bits_stored)


def _cine(ds: Dataset, spec: PhantomSpec, times_ms: np.ndarray) -> None:
    """Multi-frame and Cine: Frame Time when frames are evenly spaced, else Frame Time Vector."""
    ds.NumberOfFrames = len(times_ms)
    times_ms = np.round(times_ms, 4)  # increments of rounded times: short decimal strings without drift of the sum
    steps = np.diff(times_ms)
    interval = float(times_ms[-1] - times_ms[0]) / (len(times_ms) - 1) if len(steps) else 1000.0 / spec.recorded_rate
    if len(steps) == 0 or np.ptp(steps) < 1e-3:
        ds.FrameTime = _ds(interval)
        ds.FrameIncrementPointer = Tag("FrameTime")
    else:
        ds.FrameTimeVector = [_ds(round(step, 4)) for step in (0.0, *steps)]
        ds.FrameIncrementPointer = Tag("FrameTimeVector")
    if times_ms[0] > 0:
        ds.FrameDelay = _ds(times_ms[0])
    rate = max(1, round(1000.0 / interval))
    ds.CineRate = ds.RecommendedDisplayFrameRate = rate


def _xray(ds: Dataset, spec: PhantomSpec) -> None:
    """X-Ray Acquisition, XRF Positioner and Contrast/Bolus."""
    ds.KVP = _ds(round(spec.kvp, 1))
    ds.XRayTubeCurrent = ds.ExposureTime = ds.Exposure = None  # the phantom has quanta, no tube current
    ds.RadiationSetting = "GR"
    ds.RadiationMode = "PULSED"
    ds.ImagerPixelSpacing = [_ds(spec.pixel_spacing_mm)] * 2
    ds.EstimatedRadiographicMagnificationFactor = _ds(spec.magnification)
    ds.DistanceSourceToDetector = _ds(SOURCE_TO_DETECTOR_MM)
    ds.DistanceSourceToPatient = _ds(SOURCE_TO_DETECTOR_MM / spec.magnification)
    if spec.swallows:
        kinds = dict.fromkeys(IDDSI[s.iddsi] for s in spec.swallows)
        ds.ContrastBolusAgent = f"Barium sulfate, {', '.join(kinds)}"[:64]
        ds.ContrastBolusRoute = "ORAL"
        ds.ContrastBolusVolume = _ds(round(sum(s.volume_ml for s in spec.swallows), 2))
        ds.ContrastBolusIngredient = "BARIUM"


def _collimator(ds: Dataset, field: FieldShape, shutter: bool) -> None:
    """X-Ray Collimator and, where it hides no text, the same shape as Display Shutter; rows and columns from 1."""
    for name in ("Collimator", "Shutter") if shutter else ("Collimator",):
        shapes = []
        if field.rectangle is not None:
            shapes.append("RECTANGULAR")
            top, bottom, left, right = field.rectangle
            setattr(ds, f"{name}UpperHorizontalEdge", top + 1)
            setattr(ds, f"{name}LowerHorizontalEdge", bottom)
            setattr(ds, f"{name}LeftVerticalEdge", left + 1)
            setattr(ds, f"{name}RightVerticalEdge", right)
        if field.circle is not None:
            shapes.append("CIRCULAR")
            row, column, radius = field.circle
            setattr(ds, f"CenterOfCircular{name}", [round(row) + 1, round(column) + 1])
            setattr(ds, f"RadiusOfCircular{name}", round(radius))
        setattr(ds, f"{name}Shape", shapes)
    if shutter:
        ds.ShutterPresentationValue = 0
