"""Pseudonyms of patients and files: keyed hashes in place of identifying values.

The key consists of 32 random bytes, created once per installation in a file readable by its owner only. Pseudonyms are
stable for one key; without the key they cannot be tested against a name.
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
    """The key file exists but is damaged."""


def home_folder() -> Path:
    """Folder of the files of this installation.

    Returns:
        ``$MONAI_AGGLO_HOME`` if set, otherwise ``monai_agglo`` in the user's configuration folder.
    """
    if os.environ.get("MONAI_AGGLO_HOME"):
        return Path(os.environ["MONAI_AGGLO_HOME"]).expanduser()
    if os.name == "nt" and os.environ.get("APPDATA"):
        return Path(os.environ["APPDATA"]) / "monai_agglo"
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "monai_agglo"


def pseudonym(text: str, kind: str = "cine") -> str:
    """Stable pseudonym of an identifying text.

    Args:
        text: identifying text: a patient id, a UID, a path.
        kind: kind of the text; equal texts of different kinds have different pseudonyms.

    Returns:
        16 hexadecimal digits (64 bits of HMAC-SHA256).

    Raises:
        PseudonymKeyError: the key file of this installation is damaged.
    """
    message = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
    return hmac.new(_key(), message, hashlib.sha256).hexdigest()[:16]


def file_pseudonym(path: str | os.PathLike) -> str:
    """Pseudonym of a file by its content, independent of its path.

    Args:
        path: the file; its size and its first and last 256 KiB are hashed.

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
                    "The pseudonym key cannot be stored (%s): pseudonyms of this run will not match those of other "
                    "runs; set MONAI_AGGLO_HOME to a writable folder.",
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
                os.link(fresh, path)  # fails if another process was faster; its key is then used
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
            f"{path} is damaged: restore it, or remove it to create a new key (old pseudonyms will not match)"
        )
    return key
