"""What every live source gives: frames with the moment they came, and in the end how the stream ended."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Arrival", "Ending", "LiveSource", "Reader", "StreamError"]

QUEUE = 8
"""Frames that wait between decoder and network; a source that is faster waits, so memory does not grow."""


class StreamError(ValueError):
    """A stream that cannot be followed, in one sentence."""


@dataclass(frozen=True)
class Arrival:
    """A frame and when it came.

    Args:
        frame: (H, W), dark barium, as the readers of files give it.
        came: moment (``time.monotonic``) at which its last byte was there; None for what lay there before the start.
    """

    frame: np.ndarray
    came: float | None


@dataclass(frozen=True)
class Ending:
    """How a stream ended.

    Args:
        reason: in words that name no file and no patient.
        whole: False when the stream broke off: it stalled, or ended within a frame.
        detail: what only the terminal may show, such as a file's name.
    """

    reason: str
    whole: bool
    detail: str = ""


class LiveSource(Protocol):
    """A source of frames in the order of time.

    Attributes:
        kind: ``file``, ``pipe``, ``folder`` or ``device``.
        ending: how it ended; set when :meth:`arrivals` is exhausted.
        damaged: frames that were left out because they could not be decoded without damage.
        left_out: other things left out, such as files that came too late.
        silence_s: seconds without a frame after which the reader gives up; None where the source does so itself.
    """

    kind: str
    ending: Ending | None
    damaged: int
    left_out: int
    silence_s: float | None

    def arrivals(self) -> Iterator[Arrival]:
        """Wait for frames and give them, until the stream ends."""
        ...

    def facts(self, count: int) -> dict[str, Any]:
        """What is known of the first ``count`` frames, in the form of the ``open_*`` functions of the readers."""
        ...

    def close(self) -> None:
        """Stop waiting; :meth:`arrivals` ends."""
        ...


class Reader:
    """Decodes in a thread, so that the next frames are ready while the network works.

    Args:
        source: where the frames come from.

    Attributes:
        interrupted: set it, from a signal handler too, and no more frames are given.
    """

    def __init__(self, source: LiveSource) -> None:
        self._source = source
        self._queue: queue.Queue[Arrival | Exception | None] = queue.Queue(QUEUE)
        self._stop = threading.Event()
        self.interrupted = False
        self._thread = threading.Thread(target=self._read, name="follow", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Frames that are decoded and not yet taken."""
        return self._queue.qsize()

    def __iter__(self) -> Iterator[Arrival]:
        """Frames as they come.

        Raises:
            StreamError: when the source cannot be followed.
        """
        patience, last = self._source.silence_s, time.monotonic()
        while not self.interrupted:
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                if patience is not None and time.monotonic() - last > patience:
                    self._source.ending = Ending(f"nothing came for {patience:g} s", whole=False)
                    return
                continue
            last = time.monotonic()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
            last = time.monotonic()

    def close(self) -> None:
        """End the thread; it may be caught in a driver's call, and is left to itself then."""
        self._stop.set()
        self._source.close()
        self._thread.join(1.0)

    def _put(self, item: Arrival | Exception | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _read(self) -> None:
        try:
            for item in self._source.arrivals():
                self._put(item)
                if self._stop.is_set():
                    return
            self._put(None)
        except Exception as error:
            self._put(error)
