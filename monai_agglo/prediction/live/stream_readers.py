"""File objects for PyAV over data that is still being written: a growing file and a pipe.

Both remember when which byte came, so that the latency of a frame counts from its last byte and not from when somebody
found the time to read it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from .frame_source import StreamError

__all__ = ["ByteClock", "GrowingFile", "PipeFeed"]

POLL_S = 0.005
HELD_BYTES = 8 << 20
"""A pipe's bytes kept for the decoder; when it is slower the writer has to wait."""
TAIL_BYTES = 1 << 20
LOOK_S = 0.25
"""How often a file that does not grow is looked at for the marks of its end."""


class ByteClock:
    """When the bytes of a stream came."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float | None]] = deque(maxlen=1 << 16)
        self._lock = threading.Lock()

    def note(self, end: int, moment: float | None) -> None:
        """Bytes up to ``end`` are there at ``moment``; None for before the start."""
        with self._lock:
            self._marks.append((end, moment))

    def of(self, end: int) -> float | None:
        """When the stream was at least ``end`` bytes long. Ask in growing order: older marks are forgotten."""
        with self._lock:
            while len(self._marks) > 1 and self._marks[0][0] < end:
                self._marks.popleft()
            return self._marks[0][1] if self._marks else None


class _Feed:
    """What both have in common: waiting, silence, and the end.

    Args:
        stall_s: silence after which the stream counts as stalled, seconds.
        first_s: the same before the first byte.
    """

    def __init__(self, stall_s: float, first_s: float) -> None:
        self.stall_s, self.first_s = stall_s, first_s
        self.clock = ByteClock()
        self.total = 0
        self.stalled = False
        self.ended = ""
        self._stop = threading.Event()
        self._last = time.monotonic()

    @property
    def patience_s(self) -> float:
        """Current timeout in seconds."""
        return self.stall_s if self.total else self.first_s

    def silent(self) -> float:
        """Seconds since the last byte came."""
        return time.monotonic() - self._last

    def _grew(self, total: int) -> None:
        self._last = time.monotonic()
        self.total = total
        self.clock.note(total, self._last)

    def _over(self) -> bool:
        """Whether the stream is over."""
        if self._stop.is_set():
            self.ended = self.ended or "it was stopped"
        elif self.silent() > self.patience_s:
            self.stalled = True
        return bool(self.ended) or self.stalled


class GrowingFile(_Feed):
    """A file that another program is writing.

    Args:
        path: the file.
        stall_s, first_s: see :class:`_Feed`.

    Attributes:
        closed: tells from the bytes and their number whether the writer has finished the file.
    """

    def __init__(self, path: Path, stall_s: float, first_s: float) -> None:
        super().__init__(stall_s, first_s)
        self.closed: Callable[[Callable[[int, int], bytes], int], bool] = lambda tail, total: False
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self.total = os.fstat(self._file.fileno()).st_size
        self.clock.note(self.total, None)
        self._watcher = threading.Thread(target=self._watch, name="follow-size", daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                size = os.fstat(self._file.fileno()).st_size
            except (OSError, ValueError):
                return
            if size != self.total:
                self._grew(size)

    def read(self, count: int) -> bytes:
        """Bytes as soon as there are any; none when the stream is over."""
        look = LOOK_S
        while True:
            if data := self._file.read(count):
                return data
            if self._file.tell() > self.total:
                raise StreamError("the file became shorter while it was followed")
            if self._over():
                return b""
            if self.total and self.silent() > look:
                look = self.silent() + LOOK_S
                if self.closed(self.tail, self.total):
                    self.ended = "its writer finished the file"
            time.sleep(POLL_S)

    def tail(self, start: int, count: int) -> bytes:
        """Bytes that came before, from ``start``."""
        here = self._file.tell()
        try:
            self._file.seek(start)
            return self._file.read(count)
        finally:
            self._file.seek(here)

    def close(self) -> None:
        """Stop waiting."""
        self._stop.set()
        self._watcher.join(1.0)


class PipeFeed(_Feed):
    """A pipe: a named one (FIFO), or standard input.

    Args:
        path: of the FIFO; None for standard input.
        stall_s, first_s: see :class:`_Feed`.
    """

    def __init__(self, path: Path | None, stall_s: float, first_s: float) -> None:
        super().__init__(stall_s, first_s)
        self._fifo = path is not None
        self._fd = 0 if path is None else os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._tail = b""
        self._changed = threading.Condition()
        self._pumper = threading.Thread(target=self._pump, name="follow-pipe", daemon=True)
        self._pumper.start()

    def _pump(self) -> None:
        while not self._stop.is_set():
            if os.name == "posix" and not select.select([self._fd], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                continue
            except OSError as error:
                self.ended = f"the pipe broke ({type(error).__name__})"
                return
            if not data:
                if self._fifo and not self.total:  # nobody has opened it for writing yet
                    time.sleep(POLL_S)
                    continue
                self.ended = self.ended or "its writer closed the pipe"
                with self._changed:
                    self._changed.notify_all()
                return
            with self._changed:
                while self._held > HELD_BYTES and not self._stop.is_set():
                    self._last = time.monotonic()  # it is we who are slow
                    self._changed.wait(0.1)
                self._chunks.append(data)
                self._held += len(data)
                self._tail = (self._tail + data)[-TAIL_BYTES:]
                self._grew(self.total + len(data))
                self._changed.notify_all()

    def read(self, count: int) -> bytes:
        """Bytes as soon as there are any; none when the stream is over."""
        with self._changed:
            while not self._chunks:
                if self._over():
                    return b""
                self._changed.wait(0.05)
            data = self._chunks.popleft()
            if len(data) > count:
                self._chunks.appendleft(data[count:])
                data = data[:count]
            self._held -= len(data)
            self._changed.notify_all()
            return data

    def tail(self, start: int, count: int) -> bytes:
        """Bytes that came before, from ``start``; none where they are no longer held."""
        offset = start - (self.total - len(self._tail))
        return self._tail[offset : offset + count] if offset >= 0 else b""

    def close(self) -> None:
        """Stop waiting."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._pumper.join(1.0)
        if self._fifo:
            os.close(self._fd)
