"""Attributes that a result object (SEG, SR, secondary capture) inherits from its source cine."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from monai_agglo.cine.decode import SYNTAXES
from monai_agglo.cine.dicom import group_cines, order_instances
from monai_agglo.cine.errors import CineReadError, fail
from monai_agglo.cine.header import is_dicom, number, quiet_pydicom, text

from .deidentify_uid import patient_pseudonym, remap_uid

__all__ = ["DEIDENTIFICATION_METHOD", "ResultSource"]

DEIDENTIFICATION_METHOD = "monai-agglo: patient pseudonym, no dates or names, new UIDs"
_PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "PatientBirthDate"),
    *("PatientSex", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)
_STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "StudyDescription", "PatientAge", "PatientSize", "PatientWeight"),
)
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
"""Type 2 attributes: required in all objects, may be empty."""
_IMAGE = (
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"),
    *("Modality", "PatientOrientation", "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "SamplesPerPixel"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("PixelSpacing", "ImagerPixelSpacing", "FrameTime", "FrameTimeVector", "TimezoneOffsetFromUTC"),
)
_TERMS = re.compile(r"[AP]?[LR]?[AP]?[HF]?|[HF][AP]?[LR]?[AP]?|YES|NO|0[01]|[A-Z]{2}|ISO_\d+_\d+|")


@dataclass(frozen=True)
class ResultSource:
    """The source cine of results.

    Args:
        header: inherited attributes; pseudonymous unless ``keep_identity``.
        instances: (SOP Class UID, SOP Instance UID) of each instance in frame order: one for a multi-frame file, one
            per frame for a series of single frames.
        frames: number of frames.
        keep_identity: whether patient and study are those of the source.
        originals: SOP Instance UIDs before remapping, to recognise objects that refer to them.
    """

    header: Dataset
    instances: tuple[tuple[str, str], ...]
    frames: int
    keep_identity: bool
    originals: tuple[str, ...]

    @classmethod
    def read(
        cls,
        source: str | os.PathLike | Sequence[str | os.PathLike],
        *,
        keep_identity: bool = False,
        frames: int | None = None,
    ) -> ResultSource:
        """Read the inherited attributes of a DICOM cine, without pixels.

        Args:
            source: a DICOM file, the files of a series of single frames, or a folder of these.
            keep_identity: keep patient and study modules and all UIDs, for objects returned to the PACS of the cine.
                Otherwise the patient is pseudonymised, dates and names are removed, and UIDs are remapped as in
                ``deidentify``.
            frames: number of decoded frames, where it differs from the header (video streams).

        Returns:
            The source.

        Raises:
            CineReadError: the source is not a DICOM cine, or lacks the UIDs of a reference.
        """
        paths = [Path(source)] if isinstance(source, (str, os.PathLike)) else [Path(path) for path in source]
        shown = paths[0] if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} instances)"
        if len(paths) == 1 and paths[0].is_dir():
            paths = [path for path in sorted(paths[0].iterdir()) if path.is_file()]
        files = _ordered(paths, shown)
        wanted = [*_PATIENT, *_STUDY, *_IMAGE]
        with quiet_pydicom():
            try:
                headers = [dcmread(file, force=True, stop_before_pixels=True, specific_tags=wanted) for file in files]
            except Exception as error:  # any type; its message may quote an identifying tag
                raise fail(shown, f"the DICOM header is damaged ({type(error).__name__})") from None
            return cls._from(headers, keep_identity, frames, shown)

    @classmethod
    def _from(cls, headers: list[Dataset], keep: bool, frames: int | None, shown: object) -> ResultSource:
        first = headers[0]
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
            if any(not text(header, keyword) for header in headers):
                raise fail(shown, f"it has no {keyword}, so no DICOM object can refer to it")
        for keyword in ("PatientID", "StudyInstanceUID"):
            if len({text(header, keyword) for header in headers}) > 1:
                raise fail(shown, f"its instances differ in {keyword}, but a result belongs to one patient and study")
        count = frames or (len(headers) if len(headers) > 1 else int(number(first, "NumberOfFrames") or 1))
        originals = tuple(text(header, "SOPInstanceUID") for header in headers)
        name = str if keep else remap_uid
        instances = tuple((text(h, "SOPClassUID"), name(text(h, "SOPInstanceUID"))) for h in headers)
        _lossy(first, count)
        return cls(_kept(first) if keep else _dropped(first), instances, count, keep, originals)

    @property
    def multi_frame(self) -> bool:
        """Whether frames are referenced by number within one instance."""
        return len(self.instances) == 1 and self.frames > 1

    def reference(self, frame: int) -> tuple[str, str, int | None]:
        """Reference to a frame.

        Args:
            frame: 0-based frame of the cine.

        Returns:
            SOP Class UID, SOP Instance UID, and 1-based frame number (None for a single-frame instance).
        """
        if len(self.instances) == 1:
            return (*self.instances[0], frame + 1 if self.multi_frame else None)
        return (*self.instances[frame], None)

    def start(self, target: Dataset) -> None:
        """Copy patient, study and character set to a result object.

        Args:
            target: the new object.
        """
        for keyword in ("SpecificCharacterSet", *_PATIENT, *_STUDY):
            if keyword in self.header:
                target[keyword] = copy.deepcopy(self.header[keyword])


def _ordered(paths: Sequence[Path], shown: object) -> list[str]:
    """The files in frame order."""
    if len(paths) == 1:
        if not paths[0].exists():
            raise fail(shown, "there is no such file or folder")
        if not is_dicom(paths[0]):
            raise fail(shown, "it is not DICOM, so no DICOM object can refer to it; leave out the DICOM outputs")
        return [str(paths[0])]
    groups = group_cines(paths, shown)
    if not groups:
        raise fail(shown, "it contains no DICOM image")
    if len(groups) > 1:
        raise CineReadError(f"{shown}: it contains {len(groups)} cines; give one")
    headers = order_instances(groups[0], shown) if len(groups[0]) > 1 else groups[0]
    return [header.path for header in headers]


def _lossy(header: Dataset, frames: int) -> None:
    """Set the attributes of lossy compression where only the transfer syntax states it."""
    syntax = header.file_meta.get("TransferSyntaxUID", "")
    if not (syntax in SYNTAXES and SYNTAXES[syntax].lossy) or "LossyImageCompressionMethod" in header:
        return
    coding = str(syntax).removeprefix("1.2.840.10008.1.2.4.").split(".")[0]
    methods = {
        "50": "ISO_10918_1",
        "51": "ISO_10918_1",
        "81": "ISO_14495_1",
        "100": "ISO_13818_2",
        "101": "ISO_13818_2",
    }
    header.LossyImageCompression = "01"
    header.LossyImageCompressionMethod = methods.get(coding, "ISO_23008_2" if coding > "106" else "ISO_14496_10")
    size = header.Rows * header.Columns * frames * max(1, int(header.BitsAllocated) // 8) * int(header.SamplesPerPixel)
    header.LossyImageCompressionRatio = f"{max(1.0, size / os.path.getsize(header.filename)):.4g}"


def _kept(header: Dataset) -> Dataset:
    """The header with original patient and study."""
    kept = copy.deepcopy(header)
    for keyword in _EMPTY:
        if keyword not in kept:
            setattr(kept, keyword, "")
    return kept


def _harmless(element: DataElement) -> bool:
    """Whether a CS value is a defined term instead of free text."""
    values = element.value if element.VM > 1 else [element.value]
    return element.VR != "CS" or all(_TERMS.fullmatch(str(item)) for item in values)


def _dropped(header: Dataset) -> Dataset:
    """The header without identity: image attributes and pseudonyms only."""
    image = set(_IMAGE) - {"SpecificCharacterSet", "TimezoneOffsetFromUTC"}
    dropped = Dataset()
    for keyword in sorted(image):
        if keyword in header and _harmless(header[keyword]):
            dropped[keyword] = copy.deepcopy(header[keyword])
    for keyword in _EMPTY:
        setattr(dropped, keyword, "")
    study = text(header, "StudyInstanceUID")
    patient = patient_pseudonym(text(header, "PatientID"), text(header, "IssuerOfPatientID"), study)
    dropped.SpecificCharacterSet = "ISO_IR 192"
    dropped.PatientID, dropped.PatientName = patient, f"Pseudonym^{patient}"
    dropped.StudyInstanceUID = remap_uid(study)
    dropped.SeriesInstanceUID = remap_uid(text(header, "SeriesInstanceUID"))
    dropped.SOPInstanceUID = remap_uid(text(header, "SOPInstanceUID"))
    dropped.PatientIdentityRemoved = "YES"
    dropped.DeidentificationMethod = DEIDENTIFICATION_METHOD
    return dropped
