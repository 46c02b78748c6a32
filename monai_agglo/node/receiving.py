"""What a peer sends goes straight to disk: no object is held in memory, and a full disk ends no connection.

pynetdicom keeps a data set in memory, or, on request, in a temporary file whose failing (a full disk) takes the whole
association down without an answer. Here the buffer that it writes to is a file of the queue, and remembers what went
wrong until the object has passed and can be answered.
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
    """A data set on its way to disk; pynetdicom takes it for the buffer that it fills.

    Args:
        spool: where it goes.
        limit: most bytes that are kept.
        head: gives the file meta once the command is known.
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
        """Take the next piece. Never raises: :attr:`problem` tells."""
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
            raise SpoolFullError(f"the object is larger than the {self._limit / 1e6:.0f} MB that are taken")
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
        """Finish the file and put it on the disk for good.

        Returns:
            The file; it is the caller's now.

        Raises:
            Exception: whatever went wrong while it came.
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
        """Remove what came so far."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError:
            pass  # what could not be flushed to a full disk is not wanted any more
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._file = self._path = None

    def __del__(self) -> None:  # the association ended in the middle
        self.discard()


class SpoolingProvider(DIMSEServiceProvider):
    """Receives messages as pynetdicom does, with their data sets on disk.

    Args:
        assoc: the association.
        spool: where data sets go.
        limit: most bytes of a data set.
    """

    message: Any

    def __init__(self, assoc: Any, spool: Spool, limit: int) -> None:
        super().__init__(assoc)
        self._spool, self._limit = spool, limit

    def drop(self) -> None:
        """Remove what came of a message that will not be finished."""
        incoming = getattr(self.message, "data_set", None)
        if isinstance(incoming, IncomingObject):
            incoming.discard()

    def receive_primitive(self, primitive: Any) -> None:
        """Take a piece of a message."""
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
