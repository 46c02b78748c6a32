"""Frames of a stream, buffered on disk until the exposed field is known."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from monai_agglo.cine.frames import FrameSource

__all__ = ["FrameSpool"]


class FrameSpool(FrameSource):
    """Grows frame by frame, and is read like any other source. The file has no name and goes with the process.

    Args:
        first: the first frame, (H, W); all others have its shape and type. It is not appended.
        folder: where the temporary file is made.
    """

    def __init__(self, first: np.ndarray, folder: str | os.PathLike) -> None:
        super().__init__("the stream", (*first.shape, 0), first.dtype)
        self._bytes = first.nbytes
        self._file = tempfile.TemporaryFile(dir=os.fspath(folder))  # noqa: SIM115 - closed by close()

    def append(self, frame: np.ndarray) -> None:
        """Add a frame.

        Args:
            frame: (H, W) of the first frame's shape and type.
        """
        rows, columns, count = self.shape
        self._file.seek(count * self._bytes)
        self._file.write(np.ascontiguousarray(frame, self.dtype).tobytes())
        self.shape = (rows, columns, count + 1)

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        for index in wanted:
            self._file.seek(index * self._bytes)
            yield np.frombuffer(self._file.read(self._bytes), self.dtype).reshape(self.shape[:2]).copy()

    def close(self) -> None:
        """Forget the frames."""
        self._file.close()
