"""PS3.15 basic profile on a DICOM header, every sequence included.

The table of attributes and actions (E.1-1, edition 2024b) is that of dicom-anonymizer. It is applied here rather than
by that library's own function, because that one leaves the items of sequences alone, gives random UIDs, and keeps every
attribute that the table does not list. On top of the table, what may hold free text and is not known to be technical is
removed, and so is whatever repeats a name or number of the patient.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from monai_agglo.cine.header import quiet_pydicom, text

from .deidentify_uid import patient_pseudonym, remap_uid

__all__ = ["KEPT_TEXT", "METHOD", "apply_basic_profile", "identifying_texts", "repeats"]

METHOD = "PS3.15 2024b basic profile, by monai-agglo"
KEPT_TEXT = frozenset(
    [
        *("Manufacturer", "ManufacturerModelName", "CodeValue", "CodingSchemeDesignator", "CodeMeaning", "LUTData"),
        *("CodingSchemeVersion", "PixelData", "TransducerType"),
    ]
)
"""Attributes that may hold free text or bytes, and are kept all the same unless they repeat an identity."""
_FREE = frozenset(
    [
        "AE",
        "AS",
        "DA",
        "DT",
        "LO",
        "LT",
        "OB",
        "OD",
        "OF",
        "OL",
        "OV",
        "OW",
        "PN",
        "SH",
        "ST",
        "TM",
        "UC",
        "UN",
        "UR",
        "UT",
    ]
)
_DATES = {"DA": "20000101", "TM": "000000", "DT": "20000101000000"}
_NUMBER = re.compile(r"[-+0-9.eE ]*")
_NEEDED = frozenset(["NumberOfFrames", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "FrameTime"])
"""Numbers without which the pixels cannot be read: a patient number may equal one by chance."""
_TERM = re.compile(r"[A-Z0-9_ ]{0,16}")
_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
_WHO = (
    *("PatientID", "AccessionNumber", "PatientBirthDate", "InstitutionName", "StationName", "DeviceSerialNumber"),
    *("OtherPatientIDs", "PatientTelephoneNumbers", "PatientAddress", "MedicalRecordLocator"),
)


@lru_cache(maxsize=1)
def _table() -> tuple[dict[int, str], list[tuple[tuple[int, int], tuple[int, int], str]]]:
    """Name of the library's action by tag, and those of repeating groups with their masks."""
    from dicomanonymizer.simpledicomanonymizer import initialize_actions_2024b

    single: dict[int, str] = {}
    ranges = []
    for tag, action in initialize_actions_2024b().items():
        if len(tag) == 2:
            single[tag[0] << 16 | tag[1]] = action.__name__
        else:
            ranges.append(((tag[0], tag[1]), (tag[2], tag[3]), action.__name__))
    return single, ranges


def action_of(tag: int) -> str | None:
    """Name of the profile's action for a tag, as dicom-anonymizer calls it; None when the table does not list it."""
    single, ranges = _table()
    if tag in single:
        return single[tag]
    group, element = tag >> 16, tag & 0xFFFF
    for (g, e), (mask_g, mask_e), action in ranges:
        if group & mask_g == g & mask_g and element & mask_e == e & mask_e:
            return action
    return None


def identifying_texts(header: Dataset) -> frozenset[str]:
    """Names, numbers and places in a header that must appear nowhere in what is written, in lower case.

    Args:
        header: the header as it was.

    Returns:
        Parts of person names, patient and accession numbers, institutions, each of at least four characters.
    """
    found: set[str] = set()
    with quiet_pydicom():
        for element in _all_elements(header):
            if element.VR == "PN":
                found.update(re.split(r"[\^=\\\s,]+", str(element.value)))
            elif element.keyword in _WHO:
                found.update(str(element.value).split("\\"))
    return frozenset(part.strip().lower() for part in found if len(part.strip()) >= 4)


def _all_elements(dataset: Dataset) -> Iterator[DataElement]:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:  # a damaged element, which is removed later
            continue
        yield element
        if element.VR == "SQ":
            for item in element.value or []:
                yield from _all_elements(item)


def apply_basic_profile(header: Dataset) -> frozenset[str]:
    """Remove identity from a header, in place.

    UIDs are remapped the same way in every object of this installation, frame times and spacing stay, dates go; the
    date and time of each frame keep their distances.

    Args:
        header: attributes without pixel data and file meta information, which the caller writes anew.

    Returns:
        What :func:`identifying_texts` found, to look for in the written file.
    """
    known = identifying_texts(header)
    issuer, study = text(header, "IssuerOfPatientID"), text(header, "StudyInstanceUID")
    patient = patient_pseudonym(text(header, "PatientID"), issuer, study)
    with quiet_pydicom():
        _Cleaner(known).clean(header)
    header.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    header.PatientID, header.PatientName = patient, f"Pseudonym^{patient}"
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = METHOD
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    header.DeidentificationMethodCodeSequence = [code]
    header.LongitudinalTemporalInformationModified = "REMOVED"
    return known


class _Cleaner:
    """One header's elements, cleaned from the inside out."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self._first: datetime.datetime | None = None

    def clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            try:
                keep = self._element(dataset, dataset[tag])
            except Exception:  # what cannot be read cannot be cleaned
                keep = False
            if not keep:
                del dataset[tag]

    def _element(self, dataset: Dataset, element: DataElement) -> bool:
        """Clean one element in place; whether it stays."""
        tag = element.tag
        if (
            tag.is_private
            or tag.element == 0
            or tag.group & 0xFF00 in (0x5000, 0x6000)
            or tag.group in (0x0400, 0xFFFA)
        ):
            return False
        action = action_of(int(tag))
        if action is not None:
            return self._act(action, element)
        if element.VR == "SQ":
            return self._items(element)
        if element.VR == "UI":
            return _each(element, remap_uid)
        if element.VR in _FREE and element.keyword not in KEPT_TEXT:
            return False
        return self._harmless(element)

    def _act(self, action: str, element: DataElement) -> bool:
        from dicomanonymizer.simpledicomanonymizer import replace_element

        if element.keyword in ("FrameReferenceDateTime", "FrameAcquisitionDateTime"):
            return self._shift(element)
        if action == "delete":
            return False
        if element.VR == "SQ":  # sequences that refer to objects stay with new UIDs, the others are no use empty
            return action == "delete_or_empty_or_replace_UID" and self._items(element)
        if action in ("replace_UID", "delete_or_empty_or_replace_UID") or element.VR == "UI":
            return element.VR == "UI" and _each(element, remap_uid)
        if action in ("empty", "delete_or_empty"):
            element.value = None if element.VR in ("DA", "TM", "DT", "PN", "DS", "IS") else ""
            return element.VR not in ("OB", "OW", "UN", "US", "UL", "SS", "SL", "FD", "FL")
        replace_element(element)
        if element.VR in _DATES:  # the library's year 1 is no date for many readers
            element.value = _DATES[element.VR]
        return True

    def _items(self, element: DataElement) -> bool:
        for item in element.value or []:
            self.clean(item)
        return any(len(item) for item in element.value or [])

    def _shift(self, element: DataElement) -> bool:
        """Date and time of a frame: the first becomes the year 2000, the others keep their distance from it."""
        when = DT(element.value)
        if not isinstance(when, datetime.datetime):
            return False
        plain = when.replace(tzinfo=None)
        self._first = self._first or plain
        moved = datetime.datetime(2000, 1, 1) + (plain - self._first)
        element.value = moved.strftime("%Y%m%d%H%M%S.%f")
        return True

    def _harmless(self, element: DataElement) -> bool:
        """Whether a value is what its representation promises, and repeats nothing of the patient."""
        values = [str(item) for item in (element.value if element.VM > 1 else [element.value])]
        if element.VR in ("DS", "IS"):
            needed = element.keyword in _NEEDED
            return all(_NUMBER.fullmatch(v) and (needed or v.strip() not in self.known) for v in values if v != "None")
        if element.VR == "CS" and not all(_TERM.fullmatch(value) for value in values if value != "None"):
            return False
        if element.VR in _FREE or element.VR == "CS":
            return not any(repeats(value, self.known) for value in values)
        return True


def repeats(value: str, known: frozenset[str]) -> bool:
    """Whether a text holds a known name, or is a known number (numbers occur within others by chance)."""
    value = value.lower()
    return value.strip() in known or any(part in value for part in known if not part.isdigit())


def _each(element: DataElement, change: Callable[[str], str]) -> bool:
    """Change every value of an element."""
    values: Any = element.value
    element.value = [change(str(v)) for v in values] if element.VM > 1 else change(str(values or ""))
    return True
