"""Overlay video: the cine beside the cine with its masks, at the original frame rate."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from monai_agglo.files import atomic_path
from monai_agglo.swallow import STRUCTURES, Structure

from .contact_sheet import DISCLAIMER, frame_caption, write_contact_sheet
from .drawing import FAINT, INK, PAPER, WARN, display_window, draw_overlay, legend, resize_frame, text_block, to_grey8

__all__ = ["OverlayVideo", "draw_overlay", "frame_caption", "write_contact_sheet", "write_overlay_video"]

logger = logging.getLogger(__name__)

CLOCK = 90_000
"""Ticks per second of the video's time base (90 kHz)."""
SHOWN_FPS = 15.0
"""Playback rate of a cine without frame times, frames per second."""
GAP, NARROWEST = 4, 480
"""Pixels between the two panels, and smallest width of the video in pixels."""
LONGEST_S = 2.0
"""Longest display time of a frame, seconds; the caption shows the true time."""
ENCODERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"preset": "ultrafast", "crf": "20"}),
    ("libopenh264", {}),
    ("h264", {}),
    ("mpeg4", {"q": "3"}),
)


def _ticks(count: int, times_ms: Sequence[float] | None, fps: float | None) -> Iterator[tuple[int, int]]:
    """Start and duration of each frame in clock ticks, strictly ascending; endless beyond the last frame time."""
    usual = CLOCK / (fps or SHOWN_FPS)
    if times_ms is not None and fps is None and len(times_ms) > 1:
        gaps = np.diff(np.asarray(times_ms, float)) * CLOCK / 1000
        known = gaps[gaps > 0]
        usual = float(np.median(known)) if known.size else usual
        # Non-ascending times (repeated or damaged time stamps) take the median step.
        gaps = np.where(gaps > 0, gaps, usual)
    else:
        gaps = np.full(max(count - 1, 0), usual)
    usual = min(usual, LONGEST_S * CLOCK)
    start = 0.0
    for gap in itertools.chain(np.clip(gaps, 1, LONGEST_S * CLOCK), itertools.repeat(usual)):
        yield round(start), max(1, round(start + gap) - round(start))
        start += gap


class OverlayVideo:
    """Frame-by-frame writer of an H.264 MP4, in constant memory.

    Layout: plain frame left, frame with masks right, caption with frame number and time, legend. The time stamps of the
    video are the frame times. Prefer :func:`write_overlay_video` for iterables of frames.

    Args:
        path: the MP4 file.
        structures: structures of the channels; by default the first S of the table.
        times_ms: frame times in milliseconds; None if unknown.
        fps: constant playback rate in frames per second instead of ``times_ms``.
        total: number of frames, for the caption.
        window: grey levels shown as black and white; by default from the first frame.
        side: range (smallest, largest) of the longer side of each panel, in pixels.
        side_by_side: show the plain frame to the left of the overlay.
        title: line above the legend, for example the pseudonym.

    Raises:
        ValueError: ``fps`` is outside 0 to 1000, or no video encoder is available.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        structures: Sequence[Structure] | None = None,
        times_ms: Sequence[float] | None = None,
        fps: float | None = None,
        total: int | None = None,
        window: tuple[float, float] | None = None,
        side: tuple[int, int] = (512, 768),
        side_by_side: bool = True,
        title: str = "",
    ) -> None:
        if fps is not None and not 0 < fps <= 1000:
            raise ValueError(f"fps must be between 0 and 1000, got {fps}")
        self.path, self.structures, self.times_ms, self.fps = Path(path), structures, times_ms, fps
        self.total, self.window, self.side, self.side_by_side, self.title = total, window, side, side_by_side, title
        self.count = 0
        self._ticks = _ticks(total or (len(times_ms) if times_ms is not None else 0), times_ms, fps)
        self._lengths: dict[int, int] = {}
        self._container: Any = None
        self._stream: Any = None
        self._footer: np.ndarray | None = None

    def add(self, frame: np.ndarray, masks: np.ndarray, note: str = "") -> None:
        """Append a frame.

        Args:
            frame: (H, W), any real dtype; every frame of one size.
            masks: (S, H, W), non-zero inside a structure.
            note: warning shown after frame number and time.
        """
        self.window = self.window or display_window(frame)
        canvas = self.compose(frame, masks, note)
        if self._container is None:
            self._open(canvas.shape)
        import av

        planes = cv2.cvtColor(canvas, cv2.COLOR_RGB2YUV_I420)  # ITU-R BT.601; 20 times as fast as swscale
        image = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        image.pts, length = next(self._ticks)
        image.time_base = Fraction(1, CLOCK)
        self._lengths[image.pts] = length
        self._mux(image)
        self.count += 1

    def compose(self, frame: np.ndarray, masks: np.ndarray, note: str = "") -> np.ndarray:
        """Compose the video frame: (rows, columns, 3) uint8 RGB of even size."""
        structures = STRUCTURES[: len(masks)] if self.structures is None else self.structures
        grey = to_grey8(frame, self.window)
        right = draw_overlay(grey, masks, structures, (0, 255), self.side)
        rows, columns = right.shape[:2]
        left = columns + GAP if self.side_by_side else 0
        width = max(left + columns, NARROWEST)  # space for the text
        size = max(12, round(width / 64))
        if self._footer is None:
            words = [(" · ".join(filter(None, [self.title, DISCLAIMER])), FAINT)]
            self._footer = np.concatenate([legend(structures, width, size), text_block(words, width, size)])
        times = self.times_ms
        time_ms = float(times[self.count]) if times is not None and self.count < len(times) else None
        line = frame_caption(self.count, self.total, time_ms, note)
        caption = text_block([(line, WARN if note else INK)], width, size)[: round(size * 1.4) + 8]
        height = rows + len(caption) + len(self._footer)
        canvas = np.zeros((height + height % 2, width + width % 2, 3), np.uint8)
        start = (width - left - columns) // 2
        if self.side_by_side:
            plain = resize_frame(grey, right.shape[:2])
            canvas[:rows, start : start + columns] = cv2.cvtColor(plain, cv2.COLOR_GRAY2RGB)
            canvas[:rows, start + columns : start + left] = PAPER
        canvas[:rows, start + left : start + left + columns] = right
        canvas[rows : rows + len(caption), :width] = caption
        canvas[rows + len(caption) : height, :width] = self._footer
        return canvas

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        if self._container is not None:
            self._mux(None)
            self._container.close()
            self._container = None

    def _open(self, shape: tuple[int, ...]) -> None:
        import av

        for name, options in ENCODERS:
            container = av.open(str(self.path), "w", format="mp4", options={"movflags": "+faststart"})
            try:
                # The rate is only a hint for the encoder: the time stamps determine the playback.
                stream = container.add_stream(name, rate=Fraction(self.fps or SHOWN_FPS).limit_denominator(1000))
                stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], "yuv420p"
                context = stream.codec_context
                context.time_base = stream.time_base = Fraction(1, CLOCK)
                context.options = options
                context.gop_size = 15
                context.max_b_frames = 0
                context.color_primaries = context.color_trc = 1  # ITU-R BT.709
                context.colorspace = 6  # SMPTE 170M, the matrix of ITU-R BT.601
                context.color_range = 1
                context.open()
            except (ValueError, av.error.FFmpegError) as error:
                logger.info("video encoder %s does not open: %s", name, type(error).__name__)
                container.close()
                continue
            if name == "mpeg4":
                logger.warning("this PyAV has no H.264 encoder; the overlay video is MPEG-4 part 2")
            self._container, self._stream = container, stream
            return
        raise ValueError("no video encoder can be opened: install PyAV from PyPI (pip install av)")

    def _mux(self, image) -> None:
        for packet in self._stream.encode(image):
            # Without a duration the last frame would not be displayed.
            packet.duration = self._lengths.pop(packet.pts, 1)
            self._container.mux(packet)


@contextmanager
def _closing(video: OverlayVideo) -> Iterator[OverlayVideo]:
    try:
        yield video
    finally:
        video.close()


def write_overlay_video(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    masks: Iterable[np.ndarray],
    fps: float | None = None,
    times_ms: Sequence[float] | None = None,
    notes: Iterable[str] | None = None,
    **options,
) -> int:
    """Write an overlay video from frames and masks, consumed one at a time.

    Args:
        path: the MP4 file, written atomically.
        frames: (H, W) frames, any real dtype.
        masks: (S, H, W) masks, one per frame.
        fps: constant playback rate in frames per second; by default that of ``times_ms``, otherwise 15.
        times_ms: frame times in milliseconds, for captions and playback; None if unknown.
        notes: warnings for the captions of the frames; None for none.
        options: see :class:`OverlayVideo`.

    Returns:
        Number of frames written.

    Raises:
        ValueError: no frame, or frames and masks differ in number or size.
    """
    notes = itertools.repeat("") if notes is None else notes
    end = object()
    with atomic_path(path) as partial:
        with _closing(OverlayVideo(partial, times_ms=times_ms, fps=fps, **options)) as video:
            for (frame, mask), note in zip(itertools.zip_longest(frames, masks, fillvalue=end), notes):
                if frame is end or mask is end:
                    raise ValueError(f"{path}: frames and masks differ in number after {video.count}")
                video.add(np.asarray(frame), np.asarray(mask), note)
        if not video.count:
            raise ValueError(f"{path}: no frame to write")
        return video.count
