"""The configuration of a node: one JSON file, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["ConfigError", "Limits", "Peer", "Retry", "ServeConfig", "Tls", "read_config"]

RESULTS = ("seg", "sr", "overlay")
"""What a node can send: masks as DICOM SEG, measurements as SR, the overlay as a secondary capture."""
CINES = (
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic
    "1.2.840.10008.5.1.4.1.1.12.1.1",  # Enhanced XA
    "1.2.840.10008.5.1.4.1.1.12.2.1",  # Enhanced XRF
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
)
"""SOP classes in which fluoroscopy cines come."""

_T = TypeVar("_T")


class ConfigError(ValueError):
    """A configuration that cannot be used, in one sentence."""


@dataclass(frozen=True)
class Tls:
    """Keys of a TLS connection.

    Args:
        certificate: PEM file with our certificate chain; None on a client that shows none.
        key: PEM file with its key.
        ca: PEM file with the authorities that the other side's certificate must come from. A server with it demands a
            certificate of every caller.
        hostname: name in the peer's certificate, where it is not the address.
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
        address: its address; a name is possible where we call it, an IP address where it calls us.
        port: where it listens; None for a peer that only calls us.
        tls: keys, when it must be called with TLS.
    """

    ae_title: str
    address: str
    port: int | None = None
    tls: Tls | None = None


@dataclass(frozen=True)
class Limits:
    """Bounds that keep the node alive whatever is sent to it.

    Args:
        queue: cines that may wait to be segmented; more are refused as out of resources.
        object_mb: largest object, megabytes.
        free_mb: free disk space below which nothing is taken, megabytes.
        associations: connections at a time.
        network_s: silence after which a connection is given up, seconds.
        memory_mb: memory of the process that decodes and segments, megabytes.
        seconds: longest time for one cine.
        attempts: how often a cine that ends its process is tried.
        jobs: cines after which that process is replaced by a new one.
        keep_days: how long a finished object's UID is remembered, to recognise it when it is sent again.
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
    """When to try a peer again: after ``first_s`` seconds, then twice as long each time, up to ``longest_s``."""

    first_s: float = 5
    longest_s: float = 600


@dataclass(frozen=True)
class ServeConfig:
    """What ``serve`` does.

    Args:
        ae_title: our AE title.
        spool: folder for queue, results that wait and audit lines; it holds patient data.
        accept: who may send to us: AE title and IP address must both fit.
        send_to: where results go.
        address: where to listen; this computer only by default.
        port: where to listen; 0 takes a free one.
        tls: our keys, to take connections with TLS only.
        results: what to send, of :data:`RESULTS`.
        bundle: bundle folder or name; ``vfss_seg`` when None.
        device: torch device; the first GPU when there is one when None.
        any_view: send masks of cines too that do not look like lateral VFSS; otherwise only the reason is sent (SR).
        sop_classes: SOP classes that are taken.
        audit: file for the audit lines; ``audit.jsonl`` in the spool when None.
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
    """Read and check a configuration file.

    Args:
        path: JSON, see docs/how-to/pacs.md. Relative paths in it count from its folder.

    Returns:
        The configuration.

    Raises:
        ConfigError: when it is not JSON, or a value is missing, unknown or impossible.
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
        raise ConfigError("accept must list who may send, with ae_title and address")
    values["accept"] = tuple(_peer(item, base, f"accept[{i}]", calls_us=True) for i, item in enumerate(accept))
    values["send_to"] = _peer(values["send_to"], base, "send_to")
    if "tls" in values:
        values["tls"] = _tls(values["tls"], base, "tls")
        if values["tls"] and not (values["tls"].certificate and values["tls"].key):
            raise ConfigError("tls needs certificate and key, to take connections with it")
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
    """The content with known keys only, and none missing that has no default."""
    if not isinstance(content, dict):
        raise ConfigError(f"{where} must be a JSON object with names and values")
    names = [item.name for item in fields(kind)]
    if unknown := sorted(content.keys() - set(names)):
        raise ConfigError(f"{where} has no setting {unknown[0]!r}; there are {', '.join(names)}")
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
        raise ConfigError(f"{where} must be a text")
    return value


def _texts(value: Any, where: str, allowed: tuple[str, ...] | None) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} must be a list of texts")
    if allowed and (wrong := [item for item in value if item not in allowed]):
        raise ConfigError(f"{where}: there is no {wrong[0]!r}; choose of {', '.join(allowed)}")
    return tuple(value)


def _ae_title(value: Any, where: str) -> None:
    text = _text(value, where)
    if len(text) > 16 or text != text.strip() or "\\" in text or not (text.isascii() and text.isprintable()):
        raise ConfigError(f"{where} must be an AE title: 1 to 16 plain characters without backslash")


def _ip(value: Any, where: str) -> str:
    try:
        return str(ipaddress.ip_address(_text(value, where)))
    except ValueError:
        raise ConfigError(f"{where} must be an IP address, such as 127.0.0.1") from None


def _port(value: Any, where: str, lowest: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= 65_535:
        raise ConfigError(f"{where} must be a port, {lowest} to 65535")


def _positive(value: Any, where: str, whole: bool) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 1e12:
        raise ConfigError(f"{where} must be a {'whole ' if whole else ''}number above 0")
