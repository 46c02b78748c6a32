"""Configuration of a node: a JSON file, validated before start."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["ConfigError", "Limits", "Peer", "Retry", "ServeConfig", "Tls", "read_config"]

RESULTS = ("seg", "sr", "overlay")
"""Kinds of results: masks as DICOM SEG, measurements as SR, overlay as secondary capture."""
CINES = (
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic
    "1.2.840.10008.5.1.4.1.1.12.1.1",  # Enhanced XA
    "1.2.840.10008.5.1.4.1.1.12.2.1",  # Enhanced XRF
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
)
"""SOP classes of fluoroscopy cines."""

_T = TypeVar("_T")


class ConfigError(ValueError):
    """Invalid configuration."""


@dataclass(frozen=True)
class Tls:
    """Keys of a TLS connection.

    Args:
        certificate: PEM file with our certificate chain; optional for a client.
        key: PEM file with its private key.
        ca: PEM file with the authorities of the peer's certificate. A server with ``ca`` requires client certificates.
        hostname: name in the peer's certificate if it differs from the address.
    """

    certificate: str | None = None
    key: str | None = None
    ca: str | None = None
    hostname: str | None = None


@dataclass(frozen=True)
class Peer:
    """Another node.

    Args:
        ae_title: its AE title.
        address: its IP address, or a host name for outgoing associations.
        port: its port; None for a peer that only calls us.
        tls: TLS keys for outgoing associations; None for none.
    """

    ae_title: str
    address: str
    port: int | None = None
    tls: Tls | None = None


@dataclass(frozen=True)
class Limits:
    """Resource limits.

    Args:
        queue: number of queued cines; further ones are refused as out of resources.
        object_mb: largest object, megabytes.
        free_mb: free disk space below which objects are refused, megabytes.
        associations: number of concurrent associations.
        network_s: network timeout, seconds.
        memory_mb: memory of the segmenting process, megabytes.
        seconds: time limit per cine, seconds.
        attempts: number of attempts for a cine that ends its process.
        jobs: number of cines per segmenting process.
        keep_days: time for which UIDs of finished objects are kept to recognise duplicates, days.
    """

    queue: int = 500
    object_mb: int = 4096
    free_mb: int = 1024
    associations: int = 50
    network_s: float = 60
    memory_mb: int = 12_288
    seconds: float = 3600
    attempts: int = 3
    jobs: int = 50
    keep_days: float = 30


@dataclass(frozen=True)
class Retry:
    """Exponential backoff of a peer: ``first_s`` seconds, doubled after each failure, up to ``longest_s``."""

    first_s: float = 5
    longest_s: float = 600


@dataclass(frozen=True)
class ServeConfig:
    """Settings of ``serve``.

    Args:
        ae_title: our AE title.
        spool: folder of the queue, pending results and the audit log; contains patient data.
        accept: permitted senders; AE title and IP address must both match.
        send_to: destination of the results.
        address: listening address; localhost by default.
        port: listening port; 0 for any free port.
        tls: our keys; with them only TLS connections are accepted.
        results: results to send, of :data:`RESULTS`.
        bundle: bundle folder or name; ``vfss_seg`` by default.
        device: torch device; by default the first GPU if available.
        any_view: also send masks of cines rejected by the view check; otherwise only the reason is sent (SR).
        sop_classes: accepted SOP classes.
        audit: file of the audit log; ``audit.jsonl`` in the spool by default.
        limits: see :class:`Limits`.
        retry: see :class:`Retry`.
    """

    ae_title: str
    spool: str
    accept: tuple[Peer, ...]
    send_to: Peer
    address: str = "127.0.0.1"
    port: int = 11112
    tls: Tls | None = None
    results: tuple[str, ...] = ("seg", "sr")
    bundle: str | None = None
    device: str | None = None
    any_view: bool = False
    sop_classes: tuple[str, ...] = CINES
    audit: str | None = None
    limits: Limits = field(default_factory=Limits)
    retry: Retry = field(default_factory=Retry)


def read_config(path: str | os.PathLike) -> ServeConfig:
    """Read and validate a configuration file.

    Args:
        path: JSON file, see docs/how-to/pacs.md. Relative paths in it are relative to its folder.

    Returns:
        The configuration.

    Raises:
        ConfigError: the file is not JSON, or a value is missing, unknown or invalid.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error})") from None
    try:
        return _config(content, Path(path).absolute().parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _config(content: Any, base: Path) -> ServeConfig:
    values = _values(ServeConfig, content, "the file")
    accept = values["accept"]
    if not isinstance(accept, list) or not accept:
        raise ConfigError("accept must list the permitted senders, with ae_title and address")
    values["accept"] = tuple(_peer(item, base, f"accept[{i}]", calls_us=True) for i, item in enumerate(accept))
    values["send_to"] = _peer(values["send_to"], base, "send_to")
    if "tls" in values:
        values["tls"] = _tls(values["tls"], base, "tls")
        if values["tls"] and not (values["tls"].certificate and values["tls"].key):
            raise ConfigError("tls needs certificate and key")
    for name, kind in (("limits", Limits), ("retry", Retry)):
        if name in values:
            values[name] = kind(**_values(kind, values[name], name))
            for item in fields(kind):
                _positive(getattr(values[name], item.name), f"{name}.{item.name}", item.type == "int")
    _ae_title(values["ae_title"], "ae_title")
    _ip(values.get("address", "127.0.0.1"), "address")
    _port(values.get("port", 0), "port", lowest=0)
    for name, allowed in (("results", RESULTS), ("sop_classes", None)):
        if name in values:
            values[name] = _texts(values[name], name, allowed)
    for name in ("spool", "audit"):
        if name == "spool" or values.get(name) is not None:
            values[name] = str(base / Path(_text(values[name], name)).expanduser())
    for name in ("bundle", "device"):
        if values.get(name) is not None:
            _text(values[name], name)
    if not isinstance(values.get("any_view", False), bool):
        raise ConfigError("any_view must be true or false")
    return ServeConfig(**values)


def _values(kind: type, content: Any, where: str) -> dict[str, Any]:
    """The content, validated for unknown and missing keys."""
    if not isinstance(content, dict):
        raise ConfigError(f"{where} must be a JSON object with names and values")
    names = [item.name for item in fields(kind)]
    if unknown := sorted(content.keys() - set(names)):
        raise ConfigError(f"{where} has no setting {unknown[0]!r}; known: {', '.join(names)}")
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in content]:
        raise ConfigError(f"{where} lacks {missing[0]!r}")
    return dict(content)


def _peer(content: Any, base: Path, where: str, calls_us: bool = False) -> Peer:
    values = _values(Peer, content, where)
    _ae_title(values["ae_title"], f"{where}.ae_title")
    _text(values["address"], f"{where}.address")
    if calls_us:
        values["address"] = _ip(values["address"], f"{where}.address")
    else:
        _port(values.get("port"), f"{where}.port")
    if "tls" in values:
        values["tls"] = _tls(values["tls"], base, f"{where}.tls")
    return Peer(**values)


def _tls(content: Any, base: Path, where: str) -> Tls | None:
    if content is None:
        return None
    values = _values(Tls, content, where)
    for name in ("certificate", "key", "ca"):
        if values.get(name) is not None:
            file = base / Path(_text(values[name], f"{where}.{name}")).expanduser()
            if not file.is_file():
                raise ConfigError(f"{where}.{name}: there is no file {file}")
            values[name] = str(file)
    return Tls(**values)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where} must be a non-empty string")
    return value


def _texts(value: Any, where: str, allowed: tuple[str, ...] | None) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} must be a list of strings")
    if allowed and (wrong := [item for item in value if item not in allowed]):
        raise ConfigError(f"{where}: unknown value {wrong[0]!r}; known: {', '.join(allowed)}")
    return tuple(value)


def _ae_title(value: Any, where: str) -> None:
    text = _text(value, where)
    if len(text) > 16 or text != text.strip() or "\\" in text or not (text.isascii() and text.isprintable()):
        raise ConfigError(f"{where} must be an AE title: 1 to 16 printable ASCII characters without backslash")


def _ip(value: Any, where: str) -> str:
    try:
        return str(ipaddress.ip_address(_text(value, where)))
    except ValueError:
        raise ConfigError(f"{where} must be an IP address, such as 127.0.0.1") from None


def _port(value: Any, where: str, lowest: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= 65_535:
        raise ConfigError(f"{where} must be a port number, {lowest} to 65535")


def _positive(value: Any, where: str, whole: bool) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 1e12:
        raise ConfigError(f"{where} must be a {'whole ' if whole else ''}number above 0")
