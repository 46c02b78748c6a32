"""DIMSE client: C-STORE, C-FIND and C-MOVE, with a one-line error for each failure of the peer."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from monai_agglo.cine.identity import pseudonym

__all__ = ["DimsePeer", "PeerError", "StoreAnswer", "find", "move", "quiet", "store"]

logger = logging.getLogger(__name__)
_AGAIN = range(0xA700, 0xA800)
_PROCESSING_FAILURE = 0x0110
_MOST_CONTEXTS = 128


class PeerError(ConnectionError):
    """The peer cannot be reached, closes the connection or does not answer."""


class DimsePeer(Protocol):
    """Address of a peer."""

    @property
    def ae_title(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int | None: ...


@dataclass(frozen=True)
class StoreAnswer:
    """Answer of a peer to an object.

    Args:
        path: the file.
        status: DIMSE status; -1 if the peer does not accept its SOP class and transfer syntax.
        reason: meaning of the status; safe to log.
        comment: error comment of the peer, which may be identifying.
    """

    path: Path
    status: int
    reason: str = ""
    comment: str = ""

    @property
    def stored(self) -> bool:
        """Whether the object is stored (success or warning)."""
        return self.status == 0 or 0xB000 <= self.status < 0xC000

    @property
    def again(self) -> bool:
        """Whether a retry may succeed."""
        return self.status in _AGAIN or self.status == _PROCESSING_FAILURE

    @property
    def remark(self) -> str:
        """Warning of the peer; may be empty."""
        return f" with a warning: {self.reason}" if self.stored and self.status else ""


def quiet() -> None:
    """Silence the logs of pynetdicom and pydicom, which may quote received data."""
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def store(
    files: Sequence[str | os.PathLike],
    peer: DimsePeer,
    own_title: str,
    *,
    tls: ssl.SSLContext | None = None,
    tls_name: str | None = None,
    timeout_s: float = 60,
    before: Callable[[Path], Any] | None = None,
) -> Iterator[StoreAnswer]:
    """Send DICOM files by C-STORE, through one association.

    Args:
        files: the files.
        peer: the destination.
        own_title: our AE title.
        tls: TLS context; None for no TLS.
        tls_name: expected name in the peer's certificate.
        timeout_s: network timeout, seconds.
        before: called with each file before it is sent.

    Yields:
        The peer's answer to each file.

    Raises:
        PeerError: the peer cannot be reached, rejects the association, does not answer or closes the connection.
        ValueError: a file is not DICOM.
    """
    paths = [Path(file) for file in files]
    kinds = {path: _kind(path) for path in paths}
    ae = _ae(own_title, timeout_s)
    offered = list(dict.fromkeys(kinds.values()))
    for sop_class, syntax in offered[:_MOST_CONTEXTS]:
        ae.add_requested_context(sop_class, syntax)
    _config.STORE_SEND_CHUNKED_DATASET = True  # do not load a long cine into memory
    with _association(ae, peer, tls, tls_name, timeout_s) as assoc:
        accepted = {(str(cx.abstract_syntax), str(cx.transfer_syntax[0])) for cx in assoc.accepted_contexts}
        for number, path in enumerate(paths):
            if kinds[path] not in accepted:
                yield StoreAnswer(path, -1, f"it does not accept {_name(kinds[path][0])} in {_name(kinds[path][1])}")
                continue
            if before is not None:
                before(path)
            if not assoc.is_established:
                raise PeerError("it hung up")
            try:
                status = assoc.send_c_store(path, msg_id=number % 65_535 + 1)
            except RuntimeError:
                raise PeerError("it hung up") from None
            if "Status" not in status:
                raise PeerError("it hung up or did not answer in time")
            yield StoreAnswer(path, int(status.Status), _words(status), str(status.get("ErrorComment") or "").strip())


def find(peer: DimsePeer, own_title: str, query: dict[str, str], timeout_s: float = 60, **tls: Any) -> list[Dataset]:
    """Query a peer (C-FIND, study root).

    Args:
        peer: the peer.
        own_title: our AE title.
        query: attributes by keyword, with ``QueryRetrieveLevel``; empty values are return keys.
        timeout_s: network timeout, seconds.
        tls: ``tls`` and ``tls_name`` as for :func:`store`.

    Returns:
        One data set per match.

    Raises:
        PeerError: the peer cannot be reached or refuses the query.
    """
    ae = _ae(own_title, timeout_s)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    found = []
    with _association(ae, peer, tls.get("tls"), tls.get("tls_name"), timeout_s) as assoc:
        try:
            for status, match in assoc.send_c_find(_dataset(query), StudyRootQueryRetrieveInformationModelFind):
                if "Status" not in status:
                    raise PeerError("it hung up or did not answer in time")
                if status.Status in (0xFF00, 0xFF01) and match is not None:
                    found.append(match)
                elif status.Status != 0:
                    raise PeerError(f"it refuses the query: {_words(status)}")
        except ValueError:
            raise PeerError("it does not support queries (C-FIND)") from None
    return found


def move(
    peer: DimsePeer,
    own_title: str,
    query: dict[str, str],
    folder: str | os.PathLike,
    port: int,
    address: str = "127.0.0.1",
    timeout_s: float = 60,
    **tls: Any,
) -> list[Path]:
    """Fetch objects by C-MOVE to a temporary listener.

    Args:
        peer: the peer.
        own_title: our AE title; the peer must know it with our address and port.
        query: attributes by keyword, with ``QueryRetrieveLevel``.
        folder: output folder, created if needed.
        port: our listening port.
        address: our listening address.
        timeout_s: network timeout, seconds.
        tls: ``tls`` and ``tls_name`` as for :func:`store`.

    Returns:
        The files, named by pseudonyms.

    Raises:
        PeerError: the peer cannot be reached, refuses, or cannot send all objects.
        OSError: the port is not available, or the folder cannot be written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    got: dict[str, Path] = {}

    def receive(event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        path = place / f"{pseudonym(uid)}.dcm"
        part = place / f".{secrets.token_hex(8)}.part"
        try:
            part.write_bytes(event.encoded_dataset())
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            return 0xA700
        got[uid] = path
        return 0x0000

    quiet()
    listener = AE(own_title)
    listener.require_calling_aet = [peer.ae_title]
    listener.supported_contexts = [
        build_context(cx.abstract_syntax or "", _all_syntaxes()) for cx in AllStoragePresentationContexts
    ]
    server = listener.start_server((address, port), block=False, evt_handlers=[(evt.EVT_C_STORE, receive)])
    try:
        _request_move(peer, own_title, query, timeout_s, tls)
    finally:
        if server is not None:
            server.shutdown()
    return list(got.values())


def _request_move(peer: DimsePeer, own_title: str, query: dict[str, str], timeout_s: float, tls: dict) -> None:
    ae = _ae(own_title, timeout_s)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    with _association(ae, peer, tls.get("tls"), tls.get("tls_name"), timeout_s) as assoc:
        try:
            answers = assoc.send_c_move(_dataset(query), own_title, StudyRootQueryRetrieveInformationModelMove)
            for status, _ in answers:
                if "Status" not in status:
                    raise PeerError("it hung up or did not answer in time")
                if status.Status == 0xA801:
                    raise PeerError(
                        f"it does not know the destination {own_title}; configure our address and port there"
                    )
                failed = int(status.get("NumberOfFailedSuboperations") or 0)
                if status.Status not in (0x0000, 0xFF00) or failed:
                    raise PeerError(f"it could not send {failed or 'any'} of the objects: {_words(status)}")
        except ValueError:
            raise PeerError("it does not support C-MOVE") from None


def _ae(title: str, timeout_s: float) -> AE:
    quiet()
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    ae.connection_timeout = min(timeout_s, 30)
    return ae


@contextlib.contextmanager
def _association(
    ae: AE, peer: DimsePeer, tls: ssl.SSLContext | None, tls_name: str | None, timeout_s: float
) -> Iterator[Any]:
    """An association, released on success and aborted on error."""

    def bound(event: Any) -> None:
        sock = event.assoc.dul.socket.socket
        if sock is not None:  # time out if the peer stops reading
            sock.settimeout(timeout_s)

    args = (tls, tls_name) if tls is not None else None
    try:
        address = socket.gethostbyname(peer.address) if not _is_ip(peer.address) else peer.address
    except OSError as error:
        raise PeerError(f"its address cannot be resolved ({error.strerror})") from None
    assoc = ae.associate(
        address, int(peer.port or 104), ae_title=peer.ae_title, tls_args=args,
        evt_handlers=[(evt.EVT_CONN_OPEN, bound)],
    )  # fmt: skip
    if not assoc.is_established:
        raise PeerError(_why_not(assoc))
    try:
        yield assoc
        if assoc.is_established:
            assoc.release()
    finally:
        if assoc.is_established:
            assoc.abort(block=False)


def _is_ip(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _why_not(assoc: Any) -> str:
    if assoc.is_rejected:
        answer = assoc.acceptor.primitive
        with contextlib.suppress(Exception):
            return f"it rejects us: {answer.reason_str.lower()} ({answer.source_str.lower()})"
        return "it rejects us"
    if assoc.acceptor.primitive is not None:
        return "it accepts none of the requested SOP classes and transfer syntaxes"
    return "it cannot be reached, or does not answer"


def _kind(path: Path) -> tuple[str, str]:
    """SOP class and transfer syntax."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except Exception as error:
        raise ValueError(f"{path}: it is not a DICOM file ({type(error).__name__})") from None


def _all_syntaxes() -> list[str]:
    from monai_agglo.cine.decode import SYNTAXES

    return [*SYNTAXES]


def _dataset(query: dict[str, str]) -> Dataset:
    ds = Dataset()
    for keyword, value in query.items():
        setattr(ds, keyword, value)
    return ds


def _name(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name


def _words(status: Dataset) -> str:
    """Meaning of a status, without the peer's error comment."""
    from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

    code = int(status.Status)
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(code, ("", ""))[1] or code_to_category(code)
    return f"{meaning.lower()} (status 0x{code:04X})"
