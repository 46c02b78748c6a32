"""Byte sources with bounded memory use."""

from __future__ import annotations

import os
import zlib
from typing import Any, BinaryIO

_BLOCK = 1 << 20


class BoundedFile:
    """Read-only view of an open file that never requests more bytes than remain.

    A header may claim a 4 GB element in a 1 KB file; a plain ``read`` would allocate 4 GB first.

    Args:
        file: an open binary file.
        size: its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def read(self, count: int = -1) -> bytes:
        left = max(0, self.size - self._file.tell())
        return self._file.read(left if count < 0 else min(count, left))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Do nothing: the owner of the file closes it."""


class InflatingFile:
    """A deflated or gzipped byte stream as a file, in constant memory.

    A forward seek inflates, a backward seek restarts from the beginning.

    Args:
        path: the file.
        start: offset of the compressed stream in bytes.
        wbits: zlib's window parameter: -15 for raw deflate (DICOM), 31 for gzip (NIfTI, NRRD).
    """

    def __init__(self, path: str | os.PathLike, start: int = 0, wbits: int = -15) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._start = start
        self._wbits = wbits
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(self._start)
        self._inflater = zlib.decompressobj(self._wbits)
        self._input = b""
        self._position = 0

    def __enter__(self) -> InflatingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the inflated stream (``SEEK_SET`` and ``SEEK_CUR``); returns the new position in bytes."""
        target = offset + (self._position if whence == os.SEEK_CUR else 0)
        if target < self._position:
            self._rewind()
        while self._position < target and self.read(min(_BLOCK, target - self._position)):
            pass
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Inflate into a writable buffer; returns the number of bytes read."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            block = self.read(min(_BLOCK, len(view) - done))
            if not block:
                break
            view[done : done + len(block)] = block
            done += len(block)
        return done

    def read(self, count: int) -> bytes:
        """Inflate up to ``count`` bytes; fewer only at the end of the stream.

        Raises:
            zlib.error: the stream is damaged.
        """
        parts: list[bytes] = []
        wanted = count
        while wanted > 0:
            if self._inflater.eof:
                rest = self._inflater.unused_data or self._file.read(64)
                if self._wbits < 16 or not rest.startswith(b"\x1f\x8b"):
                    break
                self._inflater, self._input = zlib.decompressobj(self._wbits), rest  # the next gzip member
            if not self._input:
                self._input = self._file.read(1 << 16)
            block = self._inflater.decompress(self._input, wanted)
            ended = not self._input and not block
            self._input = self._inflater.unconsumed_tail
            if block:
                parts.append(block)
                wanted -= len(block)
            elif ended:
                break
        data = b"".join(parts)
        self._position += len(data)
        return data
