"""New UIDs and patient ids that stand for the old ones, the same ones in every object that this installation writes."""

from __future__ import annotations

import re
import uuid

from monai_agglo.cine.identity import pseudonym

__all__ = ["patient_pseudonym", "remap_uid"]

_STANDARD = "1.2.840.10008."
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def remap_uid(uid: str) -> str:
    """The UID that stands for another one.

    A keyed hash: a cine that was de-identified today and its segmentation of tomorrow still refer to each other, and
    nobody without this installation's key finds the way back.

    Args:
        uid: any UID.

    Returns:
        A UID under 2.25, at most 44 characters; UIDs that the standard defines (SOP classes, transfer syntaxes) and the
        empty text stay as they are.
    """
    uid = str(uid).strip(" \0")
    # what only begins like a standard UID may be anybody's text
    if not uid or (uid.startswith(_STANDARD) and len(uid) <= 64 and _UID.fullmatch(uid)):
        return uid
    digest = bytes.fromhex(pseudonym(uid, "uid") + pseudonym(uid, "uid, second half"))
    return f"2.25.{uuid.UUID(bytes=digest, version=4).int}"


def patient_pseudonym(patient: str, issuer: str = "", study: str = "") -> str:
    """What stands for a patient id, in objects as in the records of ``predict``.

    Args:
        patient: the patient id.
        issuer: who gave it.
        study: Study Instance UID, used when there is no patient id.

    Returns:
        16 hexadecimal digits.
    """
    return pseudonym(f"{issuer}\0{patient}", "patient") if patient else pseudonym(study, "study without patient")
