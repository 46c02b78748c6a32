"""Measurements of a cine as a DICOM structured report (TID 1500), one group per swallow."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from monai_agglo import __version__
from monai_agglo.files import atomic_path

from .deidentify_uid import remap_uid
from .result_source import ResultSource
from .seg_header import SERIES_NUMBER, equipment

__all__ = ["SrRecord", "write_sr"]

PRIVATE = "99AGGLO"
UNITS = {
    "s": Code("s", "UCUM", "second"),
    "ms": Code("ms", "UCUM", "millisecond"),
    "mm": Code("mm", "UCUM", "millimeter"),
    "deg": Code("deg", "UCUM", "degree"),
    "%": Code("%", "UCUM", "percent"),
    "%C2-4": Code("%{C2-4}", "UCUM", "percent of the C2-C4 distance"),
    "%(C2-4)^2": Code("%{(C2-4)^2}", "UCUM", "percent of the squared C2-C4 distance"),
    "ratio": Code("1", "UCUM", "no units"),
    "px": Code("{pixels}", "UCUM", "pixels"),
    "frames": Code("{frames}", "UCUM", "frames"),
}
"""UCUM codes of the units of measures (text in braces is an annotation)."""
_FAILED = Code("114006", "DCM", "Measurement failure")
_COMMENT = Code("121106", "DCM", "Comment")
_STUDY = Code("swallow-study", PRIVATE, "Videofluoroscopic swallow study")
_SWALLOW = Code("swallow", PRIVATE, "Swallow")


@dataclass(frozen=True)
class SrRecord:
    """A measure of a swallow.

    Args:
        name: key of the measure, used as private code if ``code`` is None.
        title: display name.
        value: the value; nan if it could not be measured.
        unit: a key of :data:`UNITS`.
        frames: 0-based frames of the measurement.
        swallow: number of the swallow in the cine, from 1.
        reason: why there is no value; otherwise empty.
        code: (value, scheme designator, meaning) of the measure.
        plus_minus: uncertainty in the same unit; nan if unknown.
        note: remark for the reader: a definition, a reference range, a warning.
    """

    name: str
    title: str
    value: float
    unit: str
    frames: tuple[int, ...] = ()
    swallow: int = 1
    reason: str = ""
    code: tuple[str, str, str] | None = None
    plus_minus: float = float("nan")
    note: str = ""


def write_sr(
    path: str | os.PathLike,
    source: ResultSource | str | os.PathLike | Sequence[str | os.PathLike],
    records: Iterable[SrRecord],
    *,
    keep_identity: bool = False,
    model: dict[str, Any] | None = None,
) -> Path:
    """Write measurements of a cine as a Comprehensive SR (partial, unverified).

    A missing value is written as an evaluation "Measurement failure" with its reason as a comment.

    Args:
        path: the file, written atomically.
        source: the DICOM cine, see :func:`~monai_agglo.dicom.seg_writer.write_seg`.
        records: the measures of all swallows.
        keep_identity: keep patient, study and UIDs of the source. Ignored if ``source`` is a :class:`ResultSource`.
        model: model that produced the masks, see :func:`~monai_agglo.dicom.seg_header.equipment`.

    Returns:
        The path.

    Raises:
        ValueError: no record, or a record with an unknown unit, a frame outside the cine, or neither value nor reason.
        CineReadError: the source is not a DICOM cine.
    """
    import highdicom as hd

    records = list(records)
    if not records:
        raise ValueError(f"{path}: there is no measurement to write")
    if not isinstance(source, ResultSource):
        source = ResultSource.read(source, keep_identity=keep_identity)
    for record in records:
        _check(record, source)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=_observer(model)),
        procedure_reported=_STUDY,
        title=codes.DCM.ImagingMeasurementReport,
        imaging_measurements=[
            _group(swallow, [record for record in records if record.swallow == swallow], source)
            for swallow in sorted({record.swallow for record in records})
        ],
    )
    document = hd.sr.ComprehensiveSR(
        evidence=_evidence(source),
        content=report[0],
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER["SR"],
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="MONAI Agglo",
        is_complete=False,
        is_final=False,
        is_verified=False,
    )
    source.start(document)
    equipment(document, model)
    document.SeriesDescription = "Swallow measurements (research use only)"
    if not source.keep_identity:
        document.ContentDate = document.InstanceCreationDate = "20000101"
        document.ContentTime = document.InstanceCreationTime = "000000"
        for keyword in ("SeriesDate", "SeriesTime", "TimezoneOffsetFromUTC"):
            if keyword in document:
                del document[keyword]
    with atomic_path(path) as partial:
        document.save_as(partial, enforce_file_format=True)
    return Path(path)


def _check(record: SrRecord, source: ResultSource) -> None:
    if record.unit not in UNITS:
        raise ValueError(f"{record.name}: unknown unit {record.unit!r}; known: {', '.join(UNITS)}")
    if math.isfinite(record.value) == bool(record.reason):
        raise ValueError(f"{record.name}: a measurement has either a value or a reason")
    if any(not 0 <= frame < source.frames for frame in record.frames):
        raise ValueError(f"{record.name}: it refers to a frame outside the {source.frames} frames of the cine")


def _observer(model: dict[str, Any] | None) -> Any:
    import highdicom as hd

    weights = str((model or {}).get("weights_sha256") or "none")
    return hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=remap_uid(f"device {__version__} {weights}"),
            name="monai-agglo",
            manufacturer_name="MONAI Agglo",
            model_name=f"{(model or {}).get('bundle') or 'monai-agglo'} {(model or {}).get('version') or __version__}",
            serial_number=weights,
        ),
    )


def _evidence(source: ResultSource) -> list[Dataset]:
    """The instances of the cine, with the attributes that highdicom copies."""
    found = []
    for kind, uid in source.instances:
        item = Dataset()
        source.start(item)
        item.SOPClassUID, item.SOPInstanceUID = kind, uid
        item.SeriesInstanceUID, item.Modality = source.header.SeriesInstanceUID, source.header.get("Modality", "RF")
        item.Rows, item.Columns = source.header.Rows, source.header.Columns
        if source.multi_frame:
            item.NumberOfFrames = source.frames
        found.append(item)
    return found


def _group(swallow: int, records: list[SrRecord], source: ResultSource) -> Any:
    """The measures of one swallow (TID 1501)."""
    import highdicom as hd

    kind, uid, _ = source.reference(0)
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=generate_uid(), identifier=f"swallow {swallow}"),
        finding_type=_SWALLOW,
        finding_sites=[hd.sr.FindingSite(codes.SCT.Pharynx)],
        source_images=[hd.sr.SourceImageForMeasurementGroup(kind, uid)],
        measurements=[_measurement(record, source) for record in records if not record.reason] or None,
        qualitative_evaluations=[_failure(record) for record in records if record.reason] or None,
    )


def _code(record: SrRecord) -> Code:
    return Code(*record.code) if record.code else Code(record.name[:16], PRIVATE, record.title[:64])


def _measurement(record: SrRecord, source: ResultSource) -> Any:
    """A value with unit, uncertainty, frames and note (TID 300)."""
    import highdicom as hd

    properties = None
    if math.isfinite(record.plus_minus):
        properties = hd.sr.MeasurementProperties(
            upper_measurement_uncertainty=record.plus_minus, lower_measurement_uncertainty=record.plus_minus
        )
    found = hd.sr.Measurement(
        name=_code(record),
        value=record.value,
        unit=UNITS[record.unit],
        tracking_identifier=hd.sr.TrackingIdentifier(uid=generate_uid(), identifier=record.name),
        properties=properties,
        referenced_images=_images(record.frames, source) or None,
    )
    _comment(found[0], record.note)
    return found


def _failure(record: SrRecord) -> Any:
    """A missing value with its reason, as a coded evaluation.

    highdicom 0.28 can neither write nor read the standard's NUM item without a value.
    """
    import highdicom as hd

    found = hd.sr.QualitativeEvaluation(name=_code(record), value=_FAILED)
    _comment(found[0], record.reason)
    return found


def _comment(item: Dataset, words: str) -> None:
    if words:
        from highdicom.sr import RelationshipTypeValues, TextContentItem

        comment = TextContentItem(_COMMENT, words, RelationshipTypeValues.HAS_PROPERTIES)
        item.ContentSequence = [*item.get("ContentSequence", []), comment]


def _images(frames: Sequence[int], source: ResultSource) -> list[Any]:
    """References to frames: one with frame numbers, or one per instance."""
    import highdicom as hd

    if not frames:
        return []
    if len(source.instances) == 1:
        kind, uid, number = source.reference(frames[0])
        numbers = [frame + 1 for frame in frames] if number is not None else None
        return [hd.sr.SourceImageForMeasurement(kind, uid, referenced_frame_numbers=numbers)]
    return [hd.sr.SourceImageForMeasurement(*source.reference(frame)[:2]) for frame in frames]
