"""``fetch`` and ``send`` over DICOMweb or DIMSE, by the address of the PACS."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .web import DicomWeb

__all__ = ["PASSWORD", "DimseAddress", "fetch", "parse_pacs", "send"]

PASSWORD = "AGGLO_PACS_PASSWORD"
"""Environment variable with the password, which would be visible on a command line."""
_DIMSE = re.compile(r"dicom://(?P<title>[^@/\\]{1,16})@(?P<address>[^:/@]+):(?P<port>\d{1,5})/?")


@dataclass(frozen=True)
class DimseAddress:
    """Address of a node, written ``dicom://AE_TITLE@ADDRESS:PORT``."""

    ae_title: str
    address: str
    port: int


def parse_pacs(text: str, user: str | None = None, ca: str | None = None) -> DicomWeb | DimseAddress:
    """Parse the address of a PACS.

    Args:
        text: ``https://...`` of a DICOMweb service, or ``dicom://AE_TITLE@ADDRESS:PORT``.
        user: DICOMweb user; the password is read from the environment variable :data:`PASSWORD`.
        ca: for DICOMweb, see :class:`DicomWeb`.

    Returns:
        The PACS.

    Raises:
        ValueError: invalid address.
    """
    if text.startswith("dicom:"):
        match = _DIMSE.fullmatch(text)
        if match is None or not 0 < int(match["port"]) <= 65_535:
            raise ValueError(f"{text}: the address of a DICOM node must be dicom://AE_TITLE@ADDRESS:PORT")
        return DimseAddress(match["title"], match["address"], int(match["port"]))
    return DicomWeb(text, user, os.environ.get(PASSWORD) if user else None, ca)


def fetch(
    pacs: str,
    folder: str | os.PathLike,
    study: str,
    series: str | None = None,
    instance: str | None = None,
    *,
    user: str | None = None,
    ca: str | None = None,
    ae_title: str = "AGGLO",
    address: str = "127.0.0.1",
    port: int = 11113,
) -> list[Path]:
    """Fetch instances from a PACS.

    Args:
        pacs: see :func:`parse_pacs`.
        folder: output folder; files are named by pseudonyms and contain the patient data of the PACS.
        study: Study Instance UID.
        series: Series Instance UID; None for all.
        instance: SOP Instance UID; None for all.
        user: for DICOMweb, see :func:`parse_pacs`.
        ca: for DICOMweb, see :func:`parse_pacs`.
        ae_title: for C-MOVE: our AE title, which the PACS must know with address and port.
        address: for C-MOVE: our listening address.
        port: for C-MOVE: our listening port.

    Returns:
        The files.

    Raises:
        ConnectionError: the PACS cannot be reached, refuses, or has no matching instance.
        ValueError: invalid address.
    """
    peer = parse_pacs(pacs, user, ca)
    if instance and not series and isinstance(peer, DimseAddress):
        raise ValueError("C-MOVE of an instance needs its series too")
    if isinstance(peer, DicomWeb):
        return peer.fetch(folder, study, series, instance)
    from .dimse import PeerError, move

    query = {"QueryRetrieveLevel": "IMAGE" if instance else "SERIES" if series else "STUDY", "StudyInstanceUID": study}
    query |= {"SeriesInstanceUID": series} if series else {}
    query |= {"SOPInstanceUID": instance} if instance else {}
    try:
        paths = move(peer, ae_title, query, folder, port, address)
    except PeerError as error:
        raise ConnectionError(f"{pacs}: {error}") from None
    if not paths:
        raise ConnectionError(f"{pacs}: it has no matching instance")
    return paths


def send(
    pacs: str,
    files: Sequence[str | os.PathLike],
    *,
    user: str | None = None,
    ca: str | None = None,
    ae_title: str = "AGGLO",
) -> list[str]:
    """Send files to a PACS.

    Args:
        pacs: see :func:`parse_pacs`.
        files: DICOM files, or folders of them.
        user: for DICOMweb, see :func:`parse_pacs`.
        ca: for DICOMweb, see :func:`parse_pacs`.
        ae_title: for C-STORE: our AE title.

    Returns:
        Refused files with reasons; empty if all files are stored.

    Raises:
        ConnectionError: the PACS cannot be reached or closes the connection.
        ValueError: a file is not DICOM, or the address is invalid.
    """
    peer = parse_pacs(pacs, user, ca)
    paths: list[Path] = []
    for file in map(Path, files):
        paths += sorted(path for path in file.rglob("*.dcm")) if file.is_dir() else [file]
    if not paths:
        raise ValueError(f"{files[0] if files else '(no path)'}: there is no .dcm file to send")
    if isinstance(peer, DicomWeb):
        peer.store(paths)
        return []
    from .dimse import PeerError, store

    try:
        answers = list(store(paths, peer, ae_title))
    except PeerError as error:
        raise ConnectionError(f"{pacs}: {error}") from None
    return [f"{a.path}: {a.reason} {a.comment}".rstrip() for a in answers if not a.stored]
