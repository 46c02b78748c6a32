"""Pixel spacing in the patient, and the affine of a cine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from .header import FunctionalGroups, items, number, numbers, text, value


@dataclass(frozen=True)
class PixelSize:
    """Pixel size of a cine.

    Args:
        mm: (row, column) spacing in the patient in millimetres, None if unknown.
        source: the tags of the value.
        nominal: (row, column) spacing of the affine in millimetres: ``mm`` if known, otherwise ITK's spacing (at the
            detector or digitiser, or 1).
    """

    mm: tuple[float, float] | None
    source: str
    nominal: tuple[float, float]

    @property
    def known(self) -> bool:
        return self.mm is not None


UNKNOWN_SPACING = PixelSize(None, "none", (1.0, 1.0))


def dicom_spacing(dataset: Dataset) -> PixelSize:
    """Pixel size of a DICOM file.

    A calibrated PixelSpacing takes precedence. ImagerPixelSpacing applies at the detector and is divided by the
    magnification (EstimatedRadiographicMagnificationFactor, or source-detector over source-patient distance).
    A PixelSpacing equal to ImagerPixelSpacing is not calibrated (PS3.3 10.7.1.3).

    Args:
        dataset: the parsed header.

    Returns:
        The spacing and its source.
    """
    pixel = _pair(dataset, "PixelSpacing")
    imager = _pair(dataset, "ImagerPixelSpacing") or _frame_pair(dataset, "FramePixelDataPropertiesSequence")
    calibration = text(dataset, "PixelSpacingCalibrationType")
    if pixel and (
        calibration in ("GEOMETRY", "FIDUCIAL") or imager is None or not np.allclose(pixel, imager, rtol=1e-3)
    ):
        name = (
            f"PixelSpacing ({calibration.lower()} calibration)"
            if calibration in ("GEOMETRY", "FIDUCIAL")
            else "PixelSpacing"
        )
        return PixelSize(pixel, name, pixel)
    centre = _frame_pair(dataset, "ProjectionPixelCalibrationSequence", "ObjectPixelSpacingInCenterOfBeam")
    if centre:
        return PixelSize(centre, "ObjectPixelSpacingInCenterOfBeam", centre)
    if imager:
        factor, name = _magnification(dataset)
        if factor is not None:
            mm = (imager[0] / factor, imager[1] / factor)
            return PixelSize(mm, f"ImagerPixelSpacing / {name}", mm)
        return PixelSize(None, "ImagerPixelSpacing (at the detector, magnification unknown)", itk_spacing(dataset))
    region = _ultrasound(dataset)
    if region:
        return PixelSize(region, "SequenceOfUltrasoundRegions", region)
    scanned = _pair(dataset, "NominalScannedPixelSpacing")
    if scanned:
        return PixelSize(None, "NominalScannedPixelSpacing (of the film, not the patient)", itk_spacing(dataset))
    return UNKNOWN_SPACING


def pixel_aspect(dataset: Dataset) -> float:
    """Ratio of pixel height to pixel width from PixelAspectRatio; 1 by default."""
    pair = _pair(dataset, "PixelAspectRatio")
    return pair[0] / pair[1] if pair else 1.0


def cine_affine(spacing: tuple[float, float], axes: np.ndarray | None = None, origin: object = (0, 0, 0)) -> np.ndarray:
    """Affine of an array (rows, columns, frames).

    ITK places column c, row r, frame t of a projection at (c * dx, r * dy, t) in LPS millimetres. In RAS, the space of
    MONAI and NIfTI, x and y change sign; the first array axis is the row.

    Args:
        spacing: (row, column) spacing in millimetres.
        axes: (3, 2) LPS directions of increasing column and row; x and y by default.
        origin: LPS position of the first pixel in millimetres.

    Returns:
        (4, 4) float64 from (row, column, frame) to RAS; the frame step is 1.
    """
    axes = np.eye(3, 2) if axes is None else axes
    affine = np.eye(4)
    affine[:3, 0] = axes[:, 1] * spacing[0]
    affine[:3, 1] = axes[:, 0] * spacing[1]
    affine[:3, 2] = np.cross(axes[:, 0], axes[:, 1])
    affine[:3, 3] = np.asarray(origin, dtype=np.float64)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine + 0.0  # + 0.0 turns -0.0 into 0.0


def itk_placement(dataset: Dataset) -> tuple[np.ndarray | None, tuple[float, ...]]:
    """Orientation and position of a projection image, as ITK reads them where a file states them.

    Args:
        dataset: the parsed header.

    Returns:
        The (3, 2) axes, None without a valid orthogonal pair, and the position of the first pixel in millimetres, both
        in LPS.
    """
    uid = text(dataset, "SOPClassUID").rpartition(".5.1.4.1.1.")[2]
    position = numbers(dataset, "ImagePositionPatient")
    usable = len(position) == 3 and uid not in ("7.1", "7.2", "7.3", "7.4") and max(map(abs, position)) < 1e6
    origin = tuple(position) if usable else (0.0, 0.0, 0.0)
    orientation = numbers(dataset, "ImageOrientationPatient")
    if len(orientation) != 6:
        return None, origin
    axes = np.array(orientation).reshape(2, 3).T
    if not np.allclose(axes.T @ axes, np.eye(2), atol=1e-3):
        return None, origin
    return axes, origin


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """A (row, column) pair of positive numbers within 1e-4 to 1e4, otherwise None."""
    found = numbers(dataset, keyword)
    if len(found) != 2 or not all(1e-4 <= item <= 1e4 for item in found):
        return None
    return round(found[0], 6), round(found[1], 6)


def _frame_pair(dataset: Dataset, sequence: str, keyword: str = "ImagerPixelSpacing") -> tuple[float, float] | None:
    """A pair from the functional groups, equal in all frames; otherwise None."""
    groups = FunctionalGroups(dataset)
    pairs = set()
    for frame in range(max(1, len(groups.frames))):
        group = groups.get(frame, sequence)
        pair = _pair(group, keyword) if group is not None else None
        if pair is None:
            return None
        pairs.add(pair)
    return pairs.pop() if len(pairs) == 1 else None


def _magnification(dataset: Dataset) -> tuple[float | None, str]:
    factor = number(dataset, "EstimatedRadiographicMagnificationFactor")
    if factor is not None and 1.0 <= factor <= 10.0:
        return factor, "EstimatedRadiographicMagnificationFactor"
    detector, patient = number(dataset, "DistanceSourceToDetector"), number(dataset, "DistanceSourceToPatient")
    if detector and patient and 1.0 <= detector / patient <= 10.0:
        return detector / patient, "(DistanceSourceToDetector / DistanceSourceToPatient)"
    return None, ""


def _ultrasound(dataset: Dataset) -> tuple[float, float] | None:
    """Spacing of an ultrasound image with one calibration (in centimetres) for all regions."""
    pairs = set()
    for region in items(dataset, "SequenceOfUltrasoundRegions"):
        if number(region, "PhysicalUnitsXDirection") != 3 or number(region, "PhysicalUnitsYDirection") != 3:
            continue
        x, y = number(region, "PhysicalDeltaX"), number(region, "PhysicalDeltaY")
        if x and y:
            pairs.add((round(abs(y) * 10, 6), round(abs(x) * 10, 6)))
    return pairs.pop() if len(pairs) == 1 else None


def itk_frame_step(dataset: Dataset) -> float:
    """ITK's frame step of a cine: for X-ray cines the frame time in ms, used as mm.

    Args:
        dataset: the parsed header.

    Returns:
        FrameTime if FrameIncrementPointer refers to it and the file is an XA or XRF cine, otherwise 1.
    """
    uid = text(dataset, "SOPClassUID").rpartition(".5.1.4.1.1.")[2]
    if uid not in ("12.1", "12.2"):
        return 1.0
    step = number(dataset, "FrameTime") if value(dataset, "FrameIncrementPointer") == 0x00181063 else None
    return step if step and 1e-4 <= step <= 1e5 else 1.0


def itk_spacing(dataset: Dataset) -> tuple[float, float]:
    """ITK's (row, column) spacing of a projection image in millimetres, calibrated or not.

    Args:
        dataset: the parsed header.

    Returns:
        ImagerPixelSpacing for X-ray classes, PixelSpacing for ultrasound, PixelSpacing or NominalScannedPixelSpacing
        for single-frame secondary captures, otherwise (1, 1).
    """
    uid = text(dataset, "SOPClassUID").rpartition(".5.1.4.1.1.")[2]
    if uid == "7":
        return _pair(dataset, "PixelSpacing") or _pair(dataset, "NominalScannedPixelSpacing") or (1.0, 1.0)
    if uid in ("3", "3.1", "6", "6.1"):
        return _pair(dataset, "PixelSpacing") or (1.0, 1.0)
    if uid in ("12.1", "12.2", "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1"):
        return _pair(dataset, "ImagerPixelSpacing") or (1.0, 1.0)
    return (1.0, 1.0)
