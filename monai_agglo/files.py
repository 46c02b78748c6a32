"""Atomic files, strict JSON and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["atomic_path", "sha256", "sync", "write_json"]


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` that replaces ``path`` when the block succeeds.

    Args:
        path: final file; its folder is created if needed. An existing file is kept until the new one is complete.

    Yields:
        The name to write to, in the same folder and therefore on the same file system.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any], durable: bool = False) -> None:
    """Write strict JSON atomically.

    Args:
        path: the file.
        content: JSON-serialisable content; lists of numbers are written on one line.
        durable: flush the file and its folder entry to disk, so that they survive a power failure.

    Raises:
        ValueError: ``content`` holds a NaN or an infinity, which JSON does not allow.
    """
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    # JSON strings contain no line breaks, so this joins only the lines of flat lists.
    text = re.sub(r'\[\n[^\[\]{}"]*\]', lambda match: re.sub(r"\s*\n\s*", " ", match[0]), text)
    with atomic_path(path) as partial:
        # of lone surrogates (undecodable file names) backslashreplace makes valid JSON escapes
        partial.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        if durable:
            sync(partial)
    if durable:
        sync(path.parent)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
