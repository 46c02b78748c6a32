"""Files: written whole or not at all, strict JSON, SHA-256."""

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

__all__ = ["atomic_path", "sha256", "write_json"]


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` when the block ends without an error.

    Args:
        path: the final file; its folder is made when missing. An older file stays until the new one is whole.

    Yields:
        The name to write to, in the same folder, so that the last step is a rename within one file system.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write strict JSON (no NaN), whole or not at all.

    Args:
        path: the file.
        content: what to write; a NaN or an infinity is an error, since other readers refuse it.
    """
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    # A line per number helps nobody: lists without structure go on one line (no JSON string holds a line break).
    text = re.sub(r'\[\n[^\[\]{}"]*\]', lambda match: re.sub(r"\s*\n\s*", " ", match[0]), text)
    with atomic_path(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
