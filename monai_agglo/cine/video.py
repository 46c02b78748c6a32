"""Video files and the MPEG-2, H.264 and HEVC streams of DICOM files, decoded by PyAV.

The container format is detected from the first bytes and fixed for PyAV, which receives an open file instead of a path:
a playlist cannot make it open other files or network addresses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .decode import PixelFormat, Syntax
from .errors import MAX_FRAME_PIXELS, CineReadError, check_size, fail
from .fragments import Span, list_fragments
from .frames import FrameSource
from .header import DicomHeader
from .identity import file_pseudonym
from .luminance import frame_to_grey, is_limited
from .spacing import UNKNOWN_SPACING, cine_affine
from .timing import NO_TIMING, Timing, ascending, constant_times

_COUNTED = ("avi", "mov")  # containers that state the number of frames in the header
_REORDERING = ("mpeg4", "msmpeg4v3", "msmpeg4v2", "msmpeg4v1")  # codecs that may pack two frames into one packet


def video_format(head: bytes) -> str | None:
    """Detect the container format of a video.

    Args:
        head: the first 600 bytes or more of the file.

    Returns:
        PyAV's name of the format, None for other files.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:8] == b"\x30\x26\xb2\x75\x8e\x66\xcf\x11":
        return "asf"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "mpegts"
    if head[:4] == b"\x00\x00\x01\xba":
        return "mpeg"
    if head[:4] == b"\x00\x00\x01\xb3":
        return "mpegvideo"
    return None


class VideoFrames(FrameSource):
    """Frames of a video stream, decoded in presentation order.

    Args:
        opener: opens the byte source from the beginning.
        container: PyAV's name of its format.
        shown: path shown in error messages.
        stated: number of frames in the DICOM header; None to count them.

    Raises:
        CineReadError: no video stream, damaged, truncated, or another number of frames than stated.
    """

    def __init__(self, opener: Callable[[], Any], container: str, shown: object, stated: int | None = None) -> None:
        self._opener, self._container = opener, container
        self.shown = shown
        self.lossy = True
        self.aspect = 1.0
        rows, cols, bits = self._probe()
        stamps = self._count(stated)
        check_size(shown, rows, cols, len(stamps))
        self.bits = bits
        super().__init__(shown, (rows, cols, len(stamps)), np.dtype(np.uint8 if bits <= 8 else np.uint16))
        self.timing = self._timing(stamps)

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        chosen, last, count = iter(wanted), wanted[-1], 0
        following = next(chosen)
        for number, frame in enumerate(self._decode()):
            if number == following:
                grey = frame_to_grey(frame, self._limited)
                if grey.shape != self.shape[:2]:
                    raise fail(self.shown, f"frame {number + 1} differs in size from the first")
                yield grey.astype(self.dtype, copy=False)
                following = next(chosen, -1)
            count = number + 1
            if number >= last:
                break
        if count <= last:
            raise fail(self.shown, f"the video is damaged or cut off after frame {count} of {self.shape[2]}")

    def _open(self) -> tuple[Any, Any, Any]:
        import av

        file = self._opener()
        try:
            container = av.open(file, "r", format=self._container, metadata_errors="ignore")
            if not container.streams.video:
                raise fail(self.shown, "the file contains no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        except CineReadError:
            file.close()
            raise
        except Exception as error:  # PyAV defines one exception per FFmpeg error
            file.close()
            raise fail(self.shown, f"the video cannot be opened ({type(error).__name__})") from None
        return file, container, stream

    def _decode(self) -> Generator[Any, None, None]:
        """Decode all frames; raises CineReadError at a damaged one."""
        file, container, stream = self._open()
        number = 0
        try:
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise fail(self.shown, f"frame {number + 1} of the video is damaged")
                if frame.width * frame.height > MAX_FRAME_PIXELS:
                    raise fail(self.shown, f"frame {number + 1} is too large")
                number += 1
                yield frame
        except CineReadError:
            raise
        except (Exception, MemoryError) as error:
            kind = type(error).__name__
            raise fail(self.shown, f"the video is damaged at frame {number + 1} ({kind})") from None
        finally:
            container.close()
            file.close()

    def _probe(self) -> tuple[int, int, int]:
        """Rows, columns and bits per sample of the first frame."""
        frames = self._decode()
        try:
            frame = next(frames, None)
            if frame is None:
                raise fail(self.shown, "the video contains no frame")
            self._limited = is_limited(frame)
            grey = frame_to_grey(frame, self._limited)
            bits = 8 if grey.dtype == np.uint8 else max(part.bits for part in frame.format.components)
            return (*grey.shape, bits)
        finally:
            frames.close()

    def _count(self, stated: int | None) -> list[int | None]:
        """Presentation time stamps of the frames, from the packets, or by decoding where packets are not frames."""
        file, container, stream = self._open()
        stamps: list[int | None] = []
        empty = 0
        try:
            claimed = stream.frames if self._container in _COUNTED else 0
            reorders = stream.codec_context.name in _REORDERING
            self._base, self._rate = stream.time_base, stream.average_rate
            ratio = stream.sample_aspect_ratio
            self.aspect = float(1 / ratio) if ratio else 1.0
            for packet in container.demux(stream):
                if packet.size and not getattr(packet, "is_discard", False):
                    stamps.append(packet.pts if packet.pts is not None else packet.dts)
                    check_size(self.shown, 1, 1, len(stamps))
                elif packet.dts is not None:
                    empty += 1
        except CineReadError:
            raise
        except Exception as error:
            raise fail(self.shown, f"the video is damaged ({type(error).__name__})") from None
        finally:
            container.close()
            file.close()
        expected = stated or claimed
        if (expected and len(stamps) != expected) or reorders or len(set(stamps)) != len(stamps):
            stamps = []
            for frame in self._decode():
                stamps.append(frame.pts)
                check_size(self.shown, 1, 1, len(stamps))
        else:
            stamps.sort(key=lambda stamp: -1 if stamp is None else stamp)
        if stated and len(stamps) != stated:
            raise fail(self.shown, f"NumberOfFrames is {stated} but the video holds {len(stamps)}")
        if claimed and len(stamps) + empty < claimed:
            raise fail(self.shown, f"the video is cut off: {len(stamps)} of {claimed} frames are present")
        return stamps

    def _timing(self, stamps: list[int | None]) -> Timing:
        if self._base is not None and None not in stamps:
            first = stamps[0]
            times = ascending([float((stamp - first) * self._base * 1000) for stamp in stamps])  # type: ignore[operator]
            if times is not None:
                return Timing(times, "PTS")
        if self._rate:
            times = constant_times(float(1000 / Fraction(self._rate)), len(stamps))
            if times is not None:
                return Timing(times, "video frame rate", assumed=True)
        return NO_TIMING


class DicomVideoFrames(VideoFrames):
    """Video stream of an encapsulated DICOM file, read across its fragments.

    Args:
        header: header of the file.
        form: pixel format of the header.
        count: NumberOfFrames.
        syntax: the transfer syntax.
        shown: path shown in error messages.

    Raises:
        CineReadError: the stream does not match the header.
    """

    def __init__(self, header: DicomHeader, form: PixelFormat, count: int, syntax: Syntax, shown: object) -> None:
        _, spans = list_fragments(header, shown)

        def opener() -> SpanFile:
            return SpanFile(header.path, spans)

        with opener() as stream:
            container = video_format(stream.read(600)) or syntax.container[0]
        super().__init__(opener, container, shown, count)
        if self.shape[:2] != (form.rows, form.cols):
            raise fail(
                shown,
                f"the video has {self.shape[0]} x {self.shape[1]} pixels, the header {form.rows} x {form.cols}",
            )


class SpanFile:
    """The fragments of a file as one file, in constant memory.

    Args:
        path: the file.
        spans: offset and length of each fragment in bytes.
    """

    def __init__(self, path: str | os.PathLike, spans: Sequence[Span]) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._spans = list(spans)
        self._starts = np.concatenate([[0], np.cumsum([length for _, length in spans])]).tolist()
        self._position = 0

    def __enter__(self) -> SpanFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, count: int = -1) -> bytes:
        total = self._starts[-1]
        count = max(0, min(count if count >= 0 else total, total - self._position))
        parts = []
        index = int(np.searchsorted(self._starts, self._position, side="right")) - 1
        while count > 0:
            offset, length = self._spans[index]
            inside = self._position - self._starts[index]
            self._file.seek(offset + inside)
            block = self._file.read(min(count, length - inside))
            if not block:
                break
            parts.append(block)
            self._position += len(block)
            count -= len(block)
            index += 1
        return b"".join(parts)


def open_video(path: str | os.PathLike, container: str, shown: object) -> tuple[FrameSource, dict[str, Any]]:
    """Open a video file.

    Args:
        path: the file.
        container: its format, from :func:`video_format`.
        shown: path shown in error messages.

    Returns:
        The frame source and the metadata of a cine.

    Raises:
        CineReadError: the file contains no readable video.
    """
    source = VideoFrames(lambda: open(path, "rb"), container, shown)  # noqa: SIM115 - VideoFrames closes it
    return source, {
        "source_format": "video",
        "timing": source.timing,
        "spacing": UNKNOWN_SPACING,
        "affine": cine_affine((1.0, 1.0)),
        "pixel_aspect": source.aspect,
        "modality": None,
        "photometric": "MONOCHROME2",
        "bits_stored": source.bits,
        "lossy": True,
        "mask_subtraction": False,
        "view": None,
        "pseudonym": file_pseudonym(path),
        "patient_pseudonym": None,
    }
