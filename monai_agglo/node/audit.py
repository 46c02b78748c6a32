"""Audit log of each object and processing step, without identifying values."""

from __future__ import annotations

import datetime
import json
import logging
import os
import threading
from pathlib import Path

__all__ = ["Audit"]

logger = logging.getLogger(__name__)


class Audit:
    """A file with one JSON line per object and step: ``time``, ``step``, ``object``, ``ae``, ``result``.

    It contains no name, id, birth date or UID. Lines are appended atomically and flushed to disk.

    Args:
        path: the file, created if needed; readable by its owner only.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._broken = False

    def write(self, step: str, item: str, ae_title: str, result: str) -> None:
        """Append a line.

        Args:
            step: ``association``, ``received``, ``segmented`` or ``sent``.
            item: pseudonym of the object; empty for an association.
            ae_title: AE title of the peer.
            result: short description of the result.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": now, "step": step, "object": item, "ae": ae_title, "result": result}
        data = (json.dumps(line) + "\n").encode()
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(handle, data)
                    os.fsync(handle)
                finally:
                    os.close(handle)
                self._broken = False
            except OSError as error:  # continue, with the lines in the log
                if not self._broken:
                    logger.error("audit lines cannot be written (%s); they follow here", error.strerror)
                self._broken = True
                logger.error("audit %s", data.decode().strip())
