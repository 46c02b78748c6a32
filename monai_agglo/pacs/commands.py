"""``fetch`` and ``send``: a PACS by its address, over DICOMweb or DIMSE."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .web import DicomWeb

__all__ = ["PASSWORD", "DimseAddress", "fetch", "parse_pacs", "send"]

PASSWORD = "AGGLO_PACS_PASSWORD"
"""Environment variable with the password: on a command line everybody could read it."""
_DIMSE = re.compile(r"dicom://(?P<title>[^@/\\]{1,16})@(?P<address>[^:/@]+):(?P<port>\d{1,5})/?")


@dataclass(frozen=True)
class DimseAddress:
    """A node as ``dicom://AE_TITLE@ADDRESS:PORT``."""

    ae_title: str
    address: str
    port: int


def parse_pacs(text: str, user: str | None = None, ca: str | None = None) -> DicomWeb | DimseAddress:
    """What an address stands for.

    Args:
        text: ``https://...`` of a DICOMweb service, or ``dicom://AE_TITLE@ADDRESS:PORT``.
        user: for DICOMweb; the password comes from the environment variable :data:`PASSWORD`.
        ca: for DICOMweb, see :class:`DicomWeb`.

    Returns:
        The PACS.

    Raises:
        ValueError: when it is neither.
    """
    if text.startswith("dicom:"):
        match = _DIMSE.fullmatch(text)
        if match is None or not 0 < int(match["port"]) <= 65_535:
            raise ValueError(f"{text}: a DICOM node is written dicom://AE_TITLE@ADDRESS:PORT")
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
        folder: where the files go, named by pseudonyms. They hold patient data as the PACS has it.
        study: Study Instance UID.
        series: Series Instance UID; all when None.
        instance: SOP Instance UID; all when None.
        user, ca: for DICOMweb.
        ae_title, address, port: for C-MOVE: who we are and where the PACS sends to; it must know all three.

    Returns:
        The files.

    Raises:
        ConnectionError: when the PACS cannot be reached, refuses, or has none.
        ValueError: when the address cannot be understood.
    """
    peer = parse_pacs(pacs, user, ca)
    if instance and not series and isinstance(peer, DimseAddress):
        raise ValueError("C-MOVE needs the series of an instance too")
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
        raise ConnectionError(f"{pacs}: it has nothing of that study, series or instance")
    return paths


def send(
    pacs: str,
    files: Sequence[str | os.PathLike],
    *,
    user: str | None = None,
    ca: str | None = None,
    ae_title: str = "AGGLO",
) -> list[str]:
    """Give files to a PACS.

    Args:
        pacs: see :func:`parse_pacs`.
        files: DICOM files, or folders with them.
        user, ca: for DICOMweb.
        ae_title: for C-STORE: who we are.

    Returns:
        What was refused, a sentence each; empty when the PACS has all.

    Raises:
        ConnectionError: when the PACS cannot be reached or hangs up.
        ValueError: when a file is not DICOM, or the address cannot be understood.
    """
    peer = parse_pacs(pacs, user, ca)
    paths: list[Path] = []
    for file in map(Path, files):
        paths += sorted(path for path in file.rglob("*.dcm")) if file.is_dir() else [file]
    if not paths:
        raise ValueError(f"{files[0] if files else 'nothing'}: there is no .dcm file in it")
    if isinstance(peer, DicomWeb):
        peer.store(paths)
        return []
    from .dimse import PeerError, store

    try:
        answers = list(store(paths, peer, ae_title))
    except PeerError as error:
        raise ConnectionError(f"{pacs}: {error}") from None
    return [f"{a.path}: {a.reason} {a.comment}".rstrip() for a in answers if not a.stored]
