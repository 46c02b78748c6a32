"""PS3.15 basic profile for DICOM headers, including nested sequences.

The table of attributes and actions (E.1-1, edition 2024b) comes from dicom-anonymizer. Its own function is not used: it
skips items of sequences, generates random UIDs, and keeps unlisted attributes. In addition to the table, attributes
with free text of unknown content and values that repeat a name or number of the patient are removed.
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
"""Kept attributes with free text or bytes, unless they repeat an identifier."""
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
"""Numbers required to read the pixels; kept even if equal to a patient number by chance."""
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
    """Names of dicom-anonymizer's actions by tag, and by tag masks of repeating groups."""
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
    """dicom-anonymizer's name of the profile action for a tag; None for unlisted tags."""
    single, ranges = _table()
    if tag in single:
        return single[tag]
    group, element = tag >> 16, tag & 0xFFFF
    for (g, e), (mask_g, mask_e), action in ranges:
        if group & mask_g == g & mask_g and element & mask_e == e & mask_e:
            return action
    return None


def identifying_texts(header: Dataset) -> frozenset[str]:
    """Identifying texts of a header, which must not appear in the output.

    Args:
        header: the original header.

    Returns:
        Parts of person names, patient and accession numbers, institutions; lower case, at least four characters.
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
        except Exception:  # damaged element, removed later
            continue
        yield element
        if element.VR == "SQ":
            for item in element.value or []:
                yield from _all_elements(item)


def apply_basic_profile(header: Dataset) -> frozenset[str]:
    """Remove identity from a header, in place.

    UIDs are remapped consistently within an installation. Frame times and spacing are kept, dates are removed, and the
    date and time of each frame are shifted with preserved intervals.

    Args:
        header: attributes without pixel data and file meta information.

    Returns:
        The texts of :func:`identifying_texts`, for verification of the written file.
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
    """Cleans the elements of a header, including nested sequences."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self._first: datetime.datetime | None = None

    def clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            try:
                keep = self._element(dataset, dataset[tag])
            except Exception:  # remove unreadable elements
                keep = False
            if not keep:
                del dataset[tag]

    def _element(self, dataset: Dataset, element: DataElement) -> bool:
        """Clean one element in place; returns whether it is kept."""
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
        if element.VR == "SQ":  # keep sequences of references, with new UIDs
            return action == "delete_or_empty_or_replace_UID" and self._items(element)
        if action in ("replace_UID", "delete_or_empty_or_replace_UID") or element.VR == "UI":
            return element.VR == "UI" and _each(element, remap_uid)
        if action in ("empty", "delete_or_empty"):
            element.value = None if element.VR in ("DA", "TM", "DT", "PN", "DS", "IS") else ""
            return element.VR not in ("OB", "OW", "UN", "US", "UL", "SS", "SL", "FD", "FL")
        replace_element(element)
        if element.VR in _DATES:  # the library's year 1 is rejected by many readers
            element.value = _DATES[element.VR]
        return True

    def _items(self, element: DataElement) -> bool:
        for item in element.value or []:
            self.clean(item)
        return any(len(item) for item in element.value or [])

    def _shift(self, element: DataElement) -> bool:
        """Shift the date and time of a frame: the first becomes 2000-01-01, intervals are kept."""
        when = DT(element.value)
        if not isinstance(when, datetime.datetime):
            return False
        plain = when.replace(tzinfo=None)
        self._first = self._first or plain
        moved = datetime.datetime(2000, 1, 1) + (plain - self._first)
        element.value = moved.strftime("%Y%m%d%H%M%S.%f")
        return True

    def _harmless(self, element: DataElement) -> bool:
        """Whether a value conforms to its VR and does not repeat an identifier."""
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
    """Whether a text contains a known name or equals a known number."""
    value = value.lower()
    return value.strip() in known or any(part in value for part in known if not part.isdigit())


def _each(element: DataElement, change: Callable[[str], str]) -> bool:
    """Apply a function to all values of an element."""
    values: Any = element.value
    element.value = [change(str(v)) for v in values] if element.VM > 1 else change(str(values or ""))
    return True
