"""Pseudonyms: keyed hashes that stand for a patient or a file wherever a name must not appear.

The key is 32 random bytes, made once per installation and kept in a file that only its owner can read. Without the
key nobody can test whether a pseudonym belongs to a given name; with it, the same name always gets the same pseudonym.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import threading
from pathlib import Path

logger = logging.getLogger(__name__)

KEY_FILE = "pseudonym.key"
_KEY_BYTES = 32
_lock = threading.Lock()
_keys: dict[str, bytes] = {}


class PseudonymKeyError(RuntimeError):
    """The key file exists but cannot be used."""


def home_folder() -> Path:
    """The folder of this installation's own files.

    Returns:
        ``$MONAI_AGGLO_HOME`` where it is set, else the user's configuration folder.
    """
    if os.environ.get("MONAI_AGGLO_HOME"):
        return Path(os.environ["MONAI_AGGLO_HOME"]).expanduser()
    if os.name == "nt" and os.environ.get("APPDATA"):
        return Path(os.environ["APPDATA"]) / "monai_agglo"
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "monai_agglo"


def pseudonym(text: str, kind: str = "cine") -> str:
    """A stable stand-in for an identifying text.

    Args:
        text: what must not be shown: a patient id, a UID, a path.
        kind: what the text names; the same text of another kind gets another pseudonym.

    Returns:
        16 hexadecimal digits (64 bits of HMAC-SHA256).

    Raises:
        PseudonymKeyError: the key file of this installation is damaged.
    """
    message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.new(_key(), message, hashlib.sha256).hexdigest()[:16]


def file_pseudonym(path: str | os.PathLike) -> str:
    """A pseudonym that follows a file's content, so it survives a move or a new name.

    Args:
        path: a file; its size and its first and last 256 KiB are hashed.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        digest.update(str(size).encode())
        digest.update(file.read(1 << 18))
        file.seek(max(0, size - (1 << 18)))
        digest.update(file.read(1 << 18))
    return pseudonym(digest.hexdigest(), "file")


def _key() -> bytes:
    folder = home_folder()
    with _lock:
        name = str(folder)
        if name not in _keys:
            try:
                _keys[name] = _load_or_make(folder)
            except OSError as error:
                logger.warning(
                    "The pseudonym key cannot be kept (%s): pseudonyms of this run will not match those of another; "
                    "set MONAI_AGGLO_HOME to a folder that can be written.",
                    type(error).__name__,
                )
                _keys[name] = secrets.token_bytes(_KEY_BYTES)
        return _keys[name]


def _load_or_make(folder: Path) -> bytes:
    path = folder / KEY_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(_KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)  # fails when another process was first: then its key is ours too
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                if not path.exists():
                    os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        os.chmod(path, 0o600)
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise PseudonymKeyError(
            f"{path} is damaged: restore it, or remove it to start new pseudonyms that match none of the old ones"
        )
    return key
