"""Pseudonymous UIDs and patient ids, consistent over all objects of an installation."""

from __future__ import annotations

import re
import uuid

from monai_agglo.cine.identity import pseudonym

__all__ = ["patient_pseudonym", "remap_uid"]

_STANDARD = "1.2.840.10008."
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def remap_uid(uid: str) -> str:
    """Map a UID to a pseudonymous UID by a keyed hash.

    References between objects de-identified at different times are preserved; the mapping cannot be inverted.

    Args:
        uid: any UID.

    Returns:
        A UID under 2.25, at most 44 characters; UIDs defined by the standard (SOP classes, transfer syntaxes) and empty
        texts are unchanged.
    """
    uid = str(uid).strip(" \0")
    # a text that only begins like a standard UID may be identifying
    if not uid or (uid.startswith(_STANDARD) and len(uid) <= 64 and _UID.fullmatch(uid)):
        return uid
    digest = bytes.fromhex(pseudonym(uid, "uid") + pseudonym(uid, "uid, second half"))
    return f"2.25.{uuid.UUID(bytes=digest, version=4).int}"


def patient_pseudonym(patient: str, issuer: str = "", study: str = "") -> str:
    """Pseudonym of a patient id, as in the records of ``predict``.

    Args:
        patient: the patient id.
        issuer: issuer of the patient id.
        study: Study Instance UID, used without a patient id.

    Returns:
        16 hexadecimal digits.
    """
    return pseudonym(f"{issuer}\0{patient}", "patient") if patient else pseudonym(study, "study without patient")
