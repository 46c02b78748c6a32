"""Frames of a growing video file, a pipe or a capture device, decoded by PyAV as they arrive."""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.cine.errors import MAX_FRAME_PIXELS, check_size
from monai_agglo.cine.identity import file_pseudonym
from monai_agglo.cine.luminance import frame_to_grey, is_limited
from monai_agglo.cine.spacing import UNKNOWN_SPACING, cine_affine
from monai_agglo.cine.timing import NO_TIMING, Timing, ascending, constant_times
from monai_agglo.cine.video import video_format

from .containers import is_finished, needs_its_end, unread_frame
from .frame_source import Arrival, Ending, StreamError
from .stream_readers import GrowingFile, PipeFeed

__all__ = ["DEVICES", "LiveVideo", "VideoDevice", "open_live_video"]

DEVICES = ("v4l2", "dshow", "avfoundation", "lavfi")
"""FFmpeg's device inputs that may be named: cameras and frame grabbers of three systems, and its test pictures."""
HEAD_BYTES = 600
PENDING = 64
PROBE = {"probesize": "65536", "analyzeduration": "200000", "fpsprobesize": "0"}
"""FFmpeg otherwise reads up to five seconds of a stream before it hands out the first frame."""


class LiveVideo:
    """Frames of a growing file or a pipe. See :class:`~.frame_source.LiveSource` for the attributes.

    Args:
        feed: the bytes.
        kind: ``file`` or ``pipe``.
        shown: what to call it in messages.
        path: the file; None for a pipe.
    """

    def __init__(self, feed: GrowingFile | PipeFeed | None, kind: str, shown: str, path: Path | None = None) -> None:
        self.kind, self.shown = kind, shown
        self.ending: Ending | None = None
        self.damaged = self.left_out = 0
        self.silence_s: float | None = None
        self._feed, self._path = feed, path
        self._name = ""
        self._stamps: list[int | None] = []
        self._base: Fraction | None = None
        self._rate: Fraction | None = None
        self._aspect, self._bits = 1.0, 8
        self._shape: tuple[int, int] | None = None
        self._limited = False
        self._pending: deque[tuple[int | None, float | None]] = deque(maxlen=PENDING)
        self._last: tuple[int | None, float | None] | None = None
        self._begin = self._end = self._pid = 0
        self._cut = False
        self._torn: int | None = None
        self._broke = ""

    def close(self) -> None:
        if self._feed is not None:
            self._feed.close()

    def arrivals(self) -> Iterator[Arrival]:
        container = self._open()
        try:
            yield from self._decode(container, container.streams.video[0])
        finally:
            container.close()
        self.ending = self._how_it_ended()

    def _open(self) -> Any:
        """The container, once enough of it is there to tell what it is."""
        import av

        feed = self._feed
        assert feed is not None
        head = b""
        while len(head) < HEAD_BYTES and (data := feed.read(HEAD_BYTES - len(head))):
            head += data
        if not head:
            waited = f"nothing came for {feed.patience_s:g} s" if feed.stalled else feed.ended or "it is empty"
            raise StreamError(f"{self.shown}: {waited}, so there is nothing to segment")
        self._name = video_format(head) or ""
        if not self._name:
            raise StreamError(f"{self.shown}: this is no video stream; AVI, MKV, MPEG-TS and MPEG can be followed")
        if self._name == "mov" and needs_its_end(head):
            raise StreamError(
                f"{self.shown}: MP4 and MOV have their index at the end and cannot be read before; record AVI, MKV, "
                "MPEG-TS or fragmented MP4"
            )
        if isinstance(feed, GrowingFile):
            feed.closed = lambda tail, total: is_finished(self._name, tail, total)
        try:
            opened = av.open(_Joined(head, feed), "r", format=self._name, metadata_errors="ignore", options=PROBE)
            return self._checked(opened)
        except StreamError:
            raise
        except Exception as error:  # PyAV has one exception per FFmpeg error
            raise StreamError(f"{self.shown}: the video cannot be opened ({type(error).__name__})") from None

    def _checked(self, container: Any) -> Any:
        if not container.streams.video:
            raise StreamError(f"{self.shown}: there is no picture in the stream")
        stream = container.streams.video[0]
        # A decoder with several threads gives a frame only when as many others have come.
        stream.thread_type = "NONE"
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        self._pid = stream.id
        self._base, self._rate = stream.time_base, stream.average_rate or stream.guessed_rate
        ratio = stream.sample_aspect_ratio
        self._aspect = float(1 / ratio) if ratio else 1.0
        return container

    def _decode(self, container: Any, stream: Any) -> Iterator[Arrival]:
        import av

        try:
            for packet in container.demux(stream):
                if packet.size:
                    self._last = (packet.pts if packet.pts is not None else packet.dts, self._came(packet))
                    self._pending.append(self._last)
                    self._cut = packet.is_corrupt
                try:
                    frames = [] if packet.size and packet.is_corrupt else packet.decode()
                except av.error.FFmpegError:
                    frames = []
                    self._cut = True
                    self._damage(late_ones=False)
                if packet.size and packet.is_corrupt:
                    self._damage(late_ones=True)
                for frame in frames:
                    if (arrival := self._arrival(frame)) is not None:
                        yield arrival
        except StreamError:
            raise
        except (av.error.FFmpegError, MemoryError) as error:
            self._broke = f"the stream broke ({type(error).__name__})"
            self._cut = True

    def _came(self, packet: Any) -> float | None:
        feed = self._feed
        if feed is None:
            return time.monotonic()
        if packet.pos is None or packet.pos < 0:
            return feed.clock.of(self._end)
        self._begin, self._end = packet.pos, max(self._end, packet.pos + packet.size)
        return feed.clock.of(min(self._end, feed.total))

    def _damage(self, late_ones: bool) -> None:
        """A frame is lost, and so are those that build on it; what the decoder still holds may be good."""
        self.damaged += 1
        if self._pending:
            self._pending.pop()
        self._torn = len(self._pending) if late_ones else 0

    def _arrival(self, frame: Any) -> Arrival | None:
        known = next((item for item in self._pending if item[0] == frame.pts and frame.pts is not None), None)
        if known is not None:
            self._pending.remove(known)
        else:  # the stream has no time stamps
            known = self._pending.popleft() if self._pending else (None, None)
        if frame.is_corrupt:
            self.damaged += 1
            self._torn, self._cut = 0, True
            return None
        if self._torn:
            self._torn -= 1
        elif self._torn == 0:
            if not frame.key_frame:
                self.damaged += 1
                return None
            self._torn = None
        if self._shape is None:
            check_size(self.shown, frame.height, frame.width, 1)
            self._limited = is_limited(frame)
        grey = frame_to_grey(frame, self._limited)
        if self._shape is None:
            self._shape = grey.shape
            deep = grey.dtype != np.uint8
            self._bits = max(part.bits for part in frame.format.components) if deep else 8
        elif grey.shape != self._shape:
            raise StreamError(f"{self.shown}: frame {len(self._stamps) + 1} has another size than the first")
        self._stamps.append(frame.pts)
        return Arrival(grey.astype(np.uint8 if self._bits <= 8 else np.uint16, copy=False), known[1])

    def _how_it_ended(self) -> Ending:
        feed = self._feed
        if feed is None:
            return Ending(self._broke or "the device gave no more", whole=not self._broke)
        after = f"after frame {len(self._stamps)}"
        within = (
            self._cut
            or self._last in self._pending
            or unread_frame(self._name, self._begin, self._end, self._pid, feed.tail, feed.total)
        )
        if feed.stalled:
            reason = f"the stream stalled {after}: nothing came for {feed.patience_s:g} s"
            return Ending(f"{reason}, within a frame" if within else reason, whole=False)
        if within:
            return Ending(f"the stream ended within a frame, {after}", whole=False)
        return Ending(feed.ended or "the stream ended", whole=True)

    def facts(self, count: int) -> dict[str, Any]:
        stamps = self._stamps[:count]
        timing = NO_TIMING
        if self._base is not None and None not in stamps:
            times = ascending([float((stamp - stamps[0]) * self._base * 1000) for stamp in stamps])  # type: ignore[operator]
            timing = Timing(times, "PTS") if times is not None else timing
        if timing.times_ms is None and self._rate:
            times = constant_times(float(1000 / self._rate), count)
            timing = Timing(times, "video frame rate", assumed=True) if times is not None else timing
        return {
            "source_format": "video",
            "timing": timing,
            "spacing": UNKNOWN_SPACING,
            "affine": cine_affine((1.0, 1.0)),
            "pixel_aspect": self._aspect,
            "modality": None,
            "photometric": "MONOCHROME2",
            "bits_stored": self._bits,
            "lossy": True,
            "mask_subtraction": False,
            "view": None,
            "pseudonym": None if self._path is None else file_pseudonym(self._path),
            "patient_pseudonym": None,
        }


class VideoDevice(LiveVideo):
    """Frames of a camera or frame grabber, by FFmpeg's input of that name.

    Args:
        form: one of :data:`DEVICES`.
        name: what that input calls the device.
        shown: what to call it in messages.
        stall_s: silence after which it is given up, seconds.
    """

    def __init__(self, form: str, name: str, shown: str, stall_s: float) -> None:
        super().__init__(None, "device", shown)
        self._form, self._device = form, name
        self.silence_s = stall_s

    def _open(self) -> Any:
        import av

        try:
            return self._checked(av.open(self._device, "r", format=self._form, metadata_errors="ignore"))
        except StreamError:
            raise
        except Exception as error:
            reason = getattr(error, "strerror", "") or type(error).__name__
            raise StreamError(f"{self.shown}: the device cannot be opened ({reason})") from None


class _Joined:
    """The first bytes, which were looked at, and then the rest: a file that cannot seek, as a stream is."""

    def __init__(self, head: bytes, feed: GrowingFile | PipeFeed) -> None:
        self._head, self._feed = head, feed

    def read(self, count: int) -> bytes:
        if self._head:
            data, self._head = self._head[:count], self._head[count:]
            return data
        return self._feed.read(count)


def open_live_video(source: str, stall_s: float, first_s: float) -> LiveVideo | None:
    """A live video by what the user typed.

    Args:
        source: a file; a named pipe; ``-`` for standard input; a character device such as ``/dev/video0``; or the name
            of one of :data:`DEVICES`, a colon, and its name of the device.
        stall_s: silence after which the stream counts as stalled, seconds.
        first_s: the same before the first byte.

    Returns:
        The source; None when it is none of these.

    Raises:
        StreamError: when it cannot be opened.
    """
    if source == "-":
        return LiveVideo(PipeFeed(None, stall_s, first_s), "pipe", "standard input")
    form, _, name = source.partition(":")
    if form in DEVICES and name:
        return VideoDevice(form, name, source, stall_s)
    path = Path(source).expanduser()
    try:
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode):
            return VideoDevice("v4l2", os.fspath(path), source, stall_s)
        if stat.S_ISFIFO(mode):
            return LiveVideo(PipeFeed(path, stall_s, first_s), "pipe", source)
        if stat.S_ISREG(mode):
            return LiveVideo(GrowingFile(path, stall_s, first_s), "file", source, path)
    except FileNotFoundError:
        raise StreamError(f"{source}: there is no such file, folder, pipe or device") from None
    except OSError as error:
        raise StreamError(f"{source}: it cannot be opened ({type(error).__name__})") from None
    return None
