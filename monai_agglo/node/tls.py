"""TLS contexts for incoming and outgoing connections."""

from __future__ import annotations

import ssl
from typing import Any

from .config import ConfigError, Tls

__all__ = ["client_context", "server_context"]


class _LateHandshake(ssl.SSLContext):
    """Defers the handshake to the thread of the connection, so that a silent caller does not block others."""

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:
        options["do_handshake_on_connect"] = False
        return super().wrap_socket(sock, *args, **options)


def server_context(tls: Tls) -> ssl.SSLContext:
    """Create the context of incoming connections.

    Args:
        tls: our certificate and key; with ``ca`` client certificates are required.

    Returns:
        The context, TLS 1.2 or newer.

    Raises:
        ConfigError: the files cannot be used.
    """
    context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    _load(context, tls, "tls")
    if tls.ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """Create the context of outgoing connections; the peer's certificate must match its name.

    Args:
        tls: ``ca`` of the peer (system authorities by default), and our certificate if the peer requires one.

    Returns:
        The context, TLS 1.2 or newer.

    Raises:
        ConfigError: the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.ca is None:
        context.load_default_certs()
    _load(context, tls, "send_to.tls")
    return context


def _load(context: ssl.SSLContext, tls: Tls, where: str) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
        if tls.ca:
            context.load_verify_locations(tls.ca)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: the certificate, key or ca cannot be used ({error})") from None
