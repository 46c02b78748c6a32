"""DICOMweb client: QIDO-RS, WADO-RS and STOW-RS."""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydicom import dcmread

from monai_agglo.cine.identity import pseudonym

__all__ = ["DicomWeb"]

PAGE = 500
_ANY_SYNTAX = (("application/dicom", "*"),)


@dataclass(frozen=True)
class DicomWeb:
    """A DICOMweb server.

    Args:
        url: base URL of the services, such as ``https://pacs.example/dicom-web``.
        user: user for basic authentication, or None.
        password: password for basic authentication; never logged or stored.
        ca: PEM file with the certificate authority, if unknown to the system.
        timeout_s: network timeout, seconds.
    """

    url: str
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    timeout_s: float = 120

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.url}: a DICOMweb address must begin with https:// (http:// for localhost)")
        if parts.username or parts.password:
            raise ValueError("the address must not contain user and password, because addresses are logged")
        if parts.scheme == "http" and not _local(parts.hostname):
            raise ValueError(f"{self.url}: patient data would be sent unencrypted; use https://")

    def __repr__(self) -> str:
        return f"DicomWeb({self.url!r})"

    def studies(self, **filters: str) -> list[str]:
        """Query studies (QIDO-RS, paged).

        Args:
            filters: attributes by keyword, such as ``StudyDate="20240101-20241231"`` or ``ModalitiesInStudy="RF"``.

        Returns:
            Sorted Study Instance UIDs.

        Raises:
            ConnectionError: the server cannot be reached or refuses.
            ValueError: a filter is not a DICOM keyword.
        """
        from pydicom.datadict import tag_for_keyword

        for name in filters:
            if tag_for_keyword(name) is None:
                raise ValueError(f"{name} is not a DICOM keyword, such as StudyDate or ModalitiesInStudy")
        found: dict[str, None] = {}
        while True:
            page = list(self._call("search_for_studies", search_filters=filters or None, limit=PAGE, offset=len(found)))
            before = len(found)
            found.update((_value(item, "0020000D"), None) for item in page)
            if len(page) < PAGE or len(found) == before:
                return sorted(found)

    def find(self, study: str, series: str | None = None, **filters: str) -> list[dict[str, Any]]:
        """Query the instances of a study (QIDO-RS).

        Args:
            study: Study Instance UID.
            series: Series Instance UID; None for all.
            filters: attributes by keyword, such as ``Modality="SEG"``.

        Returns:
            DICOM JSON per instance.

        Raises:
            ConnectionError: the server cannot be reached or refuses.
        """
        options: dict[str, Any] = {"search_filters": filters} if filters else {}
        if series:
            options["series_instance_uid"] = series
        return list(self._call("search_for_instances", study_instance_uid=study, **options))

    def fetch(
        self, folder: str | os.PathLike, study: str, series: str | None = None, instance: str | None = None
    ) -> list[Path]:
        """Fetch instances in their stored transfer syntax (WADO-RS).

        Args:
            folder: output folder, created if needed.
            study: Study Instance UID.
            series: Series Instance UID; None for all.
            instance: SOP Instance UID; None for all.

        Returns:
            The files, named by pseudonyms.

        Raises:
            ConnectionError: the server cannot be reached, refuses, or has no matching instance.
            OSError: the folder cannot be written.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        wanted = [item for item in self.find(study, series) if instance in (None, _value(item, "00080018"))]
        if not wanted:
            raise ConnectionError(f"{self.url}: it has no matching instance")
        paths = []
        for item in wanted:  # one at a time to limit memory
            uids = (study, _value(item, "0020000E"), _value(item, "00080018"))
            found = self._call("retrieve_instance", *uids, media_types=_ANY_SYNTAX)
            path = place / f"{pseudonym(uids[2])}.dcm"
            part = place / f".{secrets.token_hex(8)}.part"
            try:
                found.save_as(part, enforce_file_format=True)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
            paths.append(path)
        return paths

    def store(self, files: Sequence[str | os.PathLike]) -> int:
        """Store files on the server (STOW-RS), one at a time.

        Args:
            files: DICOM files.

        Returns:
            Number of stored files.

        Raises:
            ConnectionError: the server cannot be reached or refuses a file.
            ValueError: a file is not DICOM.
        """
        for path in map(Path, files):
            try:
                ds = dcmread(path)
            except FileNotFoundError:
                raise ValueError(f"{path}: there is no such file") from None
            except Exception as error:
                raise ValueError(f"{path}: it is not a DICOM file ({type(error).__name__})") from None
            answer = self._call("store_instances", datasets=[ds], study_instance_uid=str(ds.StudyInstanceUID))
            if failed := answer.get("FailedSOPSequence"):
                reason = failed[0].get("FailureReason")
                code = f"0x{int(reason):04X}" if reason is not None else "no reason given"
                raise ConnectionError(f"{self.url}: it refuses {path.name} ({code})")
        return len(files)

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        import requests

        try:
            return getattr(self._client(), name)(*args, **options)
        except requests.exceptions.HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            hint = {401: ": wrong user or password", 403: ": not permitted for this user", 404: ": not found"}
            raise ConnectionError(f"{self.url}: HTTP {code}{hint.get(code, '')}") from None
        except requests.exceptions.RequestException as error:
            raise ConnectionError(f"{self.url}: it cannot be reached ({type(error).__name__})") from None

    def _client(self) -> Any:
        from dicomweb_client import DICOMwebClient
        from dicomweb_client.session_utils import create_session, create_session_from_user_pass

        session = create_session_from_user_pass(self.user, self.password or "") if self.user else create_session()
        if self.ca:
            session.verify = self.ca
        session.trust_env = False  # ignore proxies and .netrc of the environment
        send = session.send
        session.send = lambda request, **given: send(request, **{**given, "timeout": self.timeout_s})
        return DICOMwebClient(self.url, session=session)


def _value(item: dict[str, Any], tag: str) -> str:
    return str((item.get(tag, {}).get("Value") or [""])[0])


def _local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
