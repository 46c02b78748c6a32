"""Modality and view of a DICOM file; free text is never returned."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from .header import items, number, text, value

PROJECTION = frozenset(["XA", "RF", "US", "SC", "DX", "CR", "DR", "RG", "IO", "PX", "MG", "OT", "XC", "ES", "GM", "VF"])
OTHER = frozenset(
    [
        *("CT", "MR", "NM", "PT", "SEG", "SR", "PR", "KO", "REG", "DOC", "ECG", "HD", "SM", "BI", "AU", "EPS", "RWV"),
        *("RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "RTRECORD", "SMR", "PLAN", "FID", "M3D", "STAIN", "CTPROTOCOL"),
        *("IVUS", "IVOCT", "OCT", "OP", "OPT", "OPM", "OPV", "OAM", "AR", "KER", "VA", "SRF", "LEN", "BMD", "BDUS"),
        *("TG", "LS", "DG", "EEG", "EMG", "EOG", "RESP", "ANN", "POS"),
    ]
)
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_PROJECTION_CLASSES = (
    "12.1", "12.1.1", "12.2", "12.2.1", "12.3", "7", "7.1", "7.2", "7.3", "7.4", "1", "1.1", "1.1.1", "1.2", "1.2.1",
    "1.3", "1.3.1", "3", "3.1", "6", "6.1", "77.1.1", "77.1.1.1", "77.1.4", "77.1.4.1",
)  # fmt: skip
_VOLUME_CLASSES = ("13.1.1", "13.1.2", "13.1.3", "13.1.4", "13.1.5", "6.2", "6.3", "30", "66.4", "66.5")


def modality_of(dataset: Dataset) -> str:
    """The modality if it is a DICOM defined term, otherwise an empty string (the tag may contain free text)."""
    found = text(dataset, "Modality").upper()
    return found if found in PROJECTION or found in OTHER else ""


def is_projection(dataset: Dataset) -> bool:
    """Whether a file is a projection cine or still, by its modality, or by its SOP class without one."""
    modality = modality_of(dataset)
    uid = text(dataset, "SOPClassUID")
    suffix = uid[len(_STORAGE) :] if uid.startswith(_STORAGE) else ""
    if modality in OTHER or suffix in _VOLUME_CLASSES:
        return False
    return modality in PROJECTION or suffix in _PROJECTION_CLASSES


def view_of(dataset: Dataset) -> str | None:
    """The projection direction.

    Args:
        dataset: the parsed header.

    Returns:
        ``"lateral"``, ``"ap"``, or None where the file does not state it.
    """
    position = text(dataset, "ViewPosition").upper()
    if position in ("LL", "RL", "LAT", "LATERAL", "LLD", "RLD"):
        return "lateral"
    if position in ("AP", "PA"):
        return "ap"
    codes = {text(item, "CodeValue") for item in items(dataset, "ViewCodeSequence")}
    if codes & {"399067008", "399173006", "399198007", "R-102CD", "R-10236", "R-10232"}:
        return "lateral"
    if codes & {"399348003", "272479007", "399033003", "R-10206", "R-40888", "R-10202"}:
        return "ap"
    orientation = value(dataset, "PatientOrientation")
    if orientation is not None and not isinstance(orientation, str) and len(orientation) == 2:
        along_rows = str(orientation[0])[:1].upper()
        if along_rows in ("A", "P"):
            return "lateral"
        if along_rows in ("L", "R"):
            return "ap"
    words = set(re.split(r"[^a-z]+", text(dataset, "SeriesDescription").lower()))
    lateral, frontal = bool(words & {"lat", "lateral"}), bool(words & {"ap", "pa", "frontal"})
    if lateral != frontal:
        return "lateral" if lateral else "ap"
    angle = number(dataset, "PositionerPrimaryAngle")
    if angle is not None and 75 <= abs(angle) <= 105:
        return "lateral"
    return None
