"""Reception of objects directly to disk.

pynetdicom buffers a data set in memory, or in a temporary file; a full disk then aborts the association without an
answer. Here the buffer is a file of the queue that stores errors until the object can be answered.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom.filewriter import write_file_meta_info
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dsutils import create_file_meta

from .spool import Spool, SpoolFullError

__all__ = ["IncomingObject", "SpoolingProvider"]

logger = logging.getLogger(__name__)
_CHECK_EVERY = 16 << 20


class IncomingObject(io.BytesIO):
    """A data set being written to disk, used by pynetdicom as its buffer.

    Args:
        spool: the queue.
        limit: largest size in bytes.
        head: returns the file meta information once the command is known.
    """

    def __init__(self, spool: Spool, limit: int, head: Callable[[], Any]) -> None:
        super().__init__()
        self._spool, self._limit, self._head = spool, limit, head
        self._file: Any = None
        self._path: Path | None = None
        self._checked = 0
        self.size = 0
        self.problem: Exception | None = None

    def write(self, data: Any) -> int:
        """Write the next fragment. Errors are stored in :attr:`problem`, never raised."""
        self.size += len(data)
        if self.problem is None:
            try:
                self._write(data)
            except Exception as error:
                self.problem = error
                self.discard()
        return len(data)

    def _write(self, data: Any) -> None:
        if self.size > self._limit:
            raise SpoolFullError(f"the object exceeds the limit of {self._limit / 1e6:.0f} MB")
        if self._file is None:
            self._spool.check_room()
            self._path = self._spool.root / "receiving" / f"{secrets.token_hex(16)}.part"
            self._file = open(self._path, "xb")  # noqa: SIM115  (closed in take or discard)
            os.chmod(self._path, 0o600)
            self._file.write(b"\0" * 128 + b"DICM")
            write_file_meta_info(self._file, self._head())
        elif self.size - self._checked > _CHECK_EVERY:
            self._checked = self.size
            self._spool.check_room()
        self._file.write(data)

    def take(self) -> Path:
        """Complete the file and flush it to disk.

        Returns:
            The file, owned by the caller.

        Raises:
            Exception: the error stored during reception.
        """
        try:
            if self.problem is not None:
                raise self.problem
            if self._file is None or self._path is None:
                raise ValueError("the object is empty")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except Exception:
            self.discard()
            raise
        path, self._path, self._file = self._path, None, None
        return path

    def discard(self) -> None:
        """Remove the partial file."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError:
            pass  # data not flushed to a full disk are discarded anyway
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._file = self._path = None

    def __del__(self) -> None:  # the association ended during the object
        self.discard()


class SpoolingProvider(DIMSEServiceProvider):
    """pynetdicom's message provider with data sets on disk.

    Args:
        assoc: the association.
        spool: the queue.
        limit: largest data set in bytes.
    """

    message: Any

    def __init__(self, assoc: Any, spool: Spool, limit: int) -> None:
        super().__init__(assoc)
        self._spool, self._limit = spool, limit

    def drop(self) -> None:
        """Remove the data of an incomplete message."""
        incoming = getattr(self.message, "data_set", None)
        if isinstance(incoming, IncomingObject):
            incoming.discard()

    def receive_primitive(self, primitive: Any) -> None:
        """Process a fragment of a message."""
        if self.message is None:
            message = DIMSEMessage()

            def head() -> Any:
                command = message.command_set
                context = self.assoc._accepted_cx[message.context_id]
                return create_file_meta(
                    sop_class_uid=command.AffectedSOPClassUID,
                    sop_instance_uid=command.AffectedSOPInstanceUID,
                    transfer_syntax=context.transfer_syntax[0],
                )

            message.data_set = IncomingObject(self._spool, self._limit, head)
            self.message = message
        super().receive_primitive(primitive)
