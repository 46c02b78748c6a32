"""TLS contexts of both directions."""

from __future__ import annotations

import ssl
from typing import Any

from .config import ConfigError, Tls

__all__ = ["client_context", "server_context"]


class _LateHandshake(ssl.SSLContext):
    """The handshake waits until the connection has a thread of its own: a silent caller must not block all others."""

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> ssl.SSLSocket:
        options["do_handshake_on_connect"] = False
        return super().wrap_socket(sock, *args, **options)


def server_context(tls: Tls) -> ssl.SSLContext:
    """A context to take connections with.

    Args:
        tls: our certificate and key; with ``ca`` callers must show a certificate from there.

    Returns:
        The context, TLS 1.2 or newer.

    Raises:
        ConfigError: when the files cannot be used.
    """
    context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    _load(context, tls, "tls")
    if tls.ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """A context to call a peer with; its certificate must be valid for its name.

    Args:
        tls: ``ca`` the peer's authority (the computer's own list when None), and our certificate if the peer wants one.

    Returns:
        The context, TLS 1.2 or newer.

    Raises:
        ConfigError: when the files cannot be used.
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
