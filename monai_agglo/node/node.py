"""Receiving side of the node: C-ECHO and C-STORE for configured peers."""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from monai_agglo.cine.decode import SYNTAXES
from monai_agglo.cine.identity import pseudonym
from monai_agglo.pacs.dimse import quiet

from .audit import Audit
from .config import ConfigError, ServeConfig
from .receiving import IncomingObject, SpoolingProvider
from .spool import Spool, SpoolFullError
from .tls import server_context

__all__ = ["Node"]

logger = logging.getLogger(__name__)

STORED, OUT_OF_RESOURCES, CONFLICT, BAD_UID, FAILED = 0x0000, 0xA700, 0xC001, 0x0117, 0x0110
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_HANDSHAKE_S = 15.0


class _Server(ThreadedAssociationServer):
    request_queue_size = 128  # backlog of concurrent callers


class Node:
    """Listens for associations.

    Args:
        config: settings of the node.
        spool: the queue.
        audit: the audit log.

    Raises:
        ConfigError: the TLS files cannot be used.
    """

    def __init__(self, config: ServeConfig, spool: Spool, audit: Audit) -> None:
        quiet()
        self._config, self._spool, self._audit = config, spool, audit
        self._ssl = server_context(config.tls) if config.tls else None
        self._allowed = {(peer.ae_title, ipaddress.ip_address(peer.address)) for peer in config.accept}
        self._full = False
        self._ae = AE(config.ae_title)
        self._ae.require_called_aet = True
        self._ae.maximum_associations = config.limits.associations
        self._ae.network_timeout = self._ae.acse_timeout = self._ae.dimse_timeout = config.limits.network_s
        self._ae.add_supported_context(Verification)
        for sop_class in config.sop_classes:
            self._ae.add_supported_context(sop_class, list(SYNTAXES))
        self._server: Any = None

    def start(self) -> int:
        """Listen.

        Returns:
            The port.

        Raises:
            ConfigError: the address or port is not available.
        """
        handlers = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_C_ECHO, lambda event: STORED),
            (evt.EVT_C_STORE, self._store),
        ]
        where = (self._config.address, self._config.port)
        try:
            self._server = self._ae.make_server(
                where, ssl_context=self._ssl, evt_handlers=handlers, server_class=_Server
            )
        except OSError as error:
            raise ConfigError(f"cannot listen at {where[0]} port {where[1]}: {error.strerror}") from None
        self._ae._servers.append(self._server)
        threading.Thread(target=self._server.serve_forever, name="listening", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening and abort open associations; senders retry."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None
        for assoc in self._ae.active_associations:
            if assoc.is_established:
                assoc.abort(block=False)
            else:
                assoc.kill()

    def _opened(self, event: Any) -> None:
        """Accept a connection from a configured address; close others at once."""
        assoc = event.assoc
        sock = assoc.dul.socket.socket
        if not any(address == _ip(event.address[0]) for _, address in self._allowed):
            self._reject("", event.address[0], "its address is not configured")
            assoc.dul.socket.close()
            return
        try:
            if self._ssl is not None:
                sock.settimeout(_HANDSHAKE_S)
                sock.do_handshake()
            sock.settimeout(self._config.limits.network_s)
        except OSError as error:
            self._reject("", event.address[0], f"no TLS connection ({type(error).__name__})")
            assoc.dul.socket.close()
            return
        assoc.dimse = SpoolingProvider(assoc, self._spool, self._config.limits.object_mb * 1_000_000)

    def _closed(self, event: Any) -> None:
        """Clean up after a closed connection, possibly with an incomplete object."""
        if isinstance(event.assoc.dimse, SpoolingProvider):
            event.assoc.dimse.drop()

    def _requested(self, event: Any) -> None:
        """Check an association request: AE title and address must match one configured peer."""
        assoc, request = event.assoc, event.assoc.requestor.primitive
        caller = str(request.calling_ae_title or "").strip()
        address = assoc.requestor.address_info.address
        reason = 0
        if (caller, _ip(address)) not in self._allowed:
            reason, why = 0x03, "its AE title and address are not configured"
        elif str(request.called_ae_title or "").strip() != self._config.ae_title:
            reason, why = 0x07, "it uses a wrong called AE title"
        if reason:
            self._reject(caller, address, why)
            assoc.acse.send_reject(0x01, 0x01, reason)
            assoc.kill()

    def _reject(self, caller: str, address: str, why: str) -> None:
        logger.warning("a connection from %s (%s) was rejected: %s", address, ascii(caller), why)
        self._audit.write("association", "", caller, f"rejected, {address}: {why}")

    def _store(self, event: Any) -> Dataset:
        """Handle a received object; success means that it is flushed to disk."""
        uid = str(event.request.AffectedSOPInstanceUID or "")
        caller = str(event.assoc.requestor.ae_title).strip()
        incoming = event.request.DataSet
        try:
            if not isinstance(incoming, IncomingObject):
                raise ValueError("the object is empty")
            if len(uid) > 64 or not _UID.fullmatch(uid):
                incoming.discard()
                return self._answer("", caller, BAD_UID, "its SOP Instance UID is invalid")
            outcome = self._spool.add(incoming.take(), uid, caller)
        except OSError as error:
            words = str(error) if isinstance(error, SpoolFullError) else f"the disk fails ({error.strerror})"
            if not self._full:
                logger.error("objects are refused as out of resources: %s", words)
            self._full = True
            return self._answer(uid, caller, OUT_OF_RESOURCES, words)
        except Exception as error:  # the object is not stored: report failure to the sender
            logger.error("an object could not be received (%s)", type(error).__name__)
            return self._answer(uid, caller, FAILED, "it could not be received")
        if outcome == "conflict":
            logger.error("object %s was refused: another object has the same SOP Instance UID", pseudonym(uid))
            return self._answer(uid, caller, CONFLICT, "another object has this SOP Instance UID")
        if self._full:
            logger.info("space is available again: objects are accepted")
            self._full = False
        return self._answer(uid, caller, STORED, outcome)

    def _answer(self, uid: str, caller: str, status: int, words: str) -> Dataset:
        refused = f"refused 0x{status:04X}: " if status else ""
        self._audit.write("received", pseudonym(uid) if uid else "", caller, refused + words)
        answer = Dataset()
        answer.Status = status
        if status:
            answer.ErrorComment = words[:64]
        return answer


def _ip(text: str) -> Any:
    """Parse an address; IPv4-mapped IPv6 addresses become IPv4."""
    found = ipaddress.ip_address(text.split("%")[0])
    return getattr(found, "ipv4_mapped", None) or found
