"""The error raised for unreadable cines, and limits against malicious files."""

from __future__ import annotations

import os
from pathlib import Path

MAX_FRAME_PIXELS = 4096 * 4096
MAX_FRAMES = 20_000
MAX_HEADER_BYTES = 64 << 20  # inflated bytes before the pixel data of a deflated file
MAX_INFLATION = 250  # compression ratio; noise keeps real cines below it, a deflate bomb reaches 1000
INFLATION_FREE_BYTES = 64 << 20  # the ratio is not checked below this size
MAX_ITEMS = 500_000  # fragments of one encapsulated file
MAX_READ_BYTES = 16 << 30  # one array


class CineReadError(ValueError):
    """A file cannot be read as a cine. The message is one sentence: the path as given, and the reason."""


def fail(source: object, reason: str) -> CineReadError:
    """Build the error for a source.

    Args:
        source: path as given by the user; of several paths the first is shown.
        reason: the reason and, where useful, the remedy; never the value of an identifying tag.

    Returns:
        The error, to be raised by the caller.
    """
    if isinstance(source, (list, tuple)):
        source = f"{os.fspath(source[0])} and {len(source) - 1} more" if len(source) > 1 else source[0]
    name = os.fspath(source) if isinstance(source, (str, Path)) else str(source)
    return CineReadError(f"{name}: {reason}")


def check_size(source: object, rows: int, cols: int, frames: int) -> None:
    """Refuse implausible sizes before memory is allocated.

    Args:
        source: path shown in the error message.
        rows: image height in pixels.
        cols: image width in pixels.
        frames: number of frames.

    Raises:
        CineReadError: a size is below 1 or above its limit.
    """
    if rows < 1 or cols < 1 or frames < 1:
        raise fail(source, f"the image is empty ({rows} rows, {cols} columns, {frames} frames)")
    if rows * cols > MAX_FRAME_PIXELS or max(rows, cols) > 65_535:
        raise fail(source, f"{rows} x {cols} pixels are more than the limit of {MAX_FRAME_PIXELS} per frame")
    if frames > MAX_FRAMES:
        raise fail(source, f"{frames} frames are more than the limit of {MAX_FRAMES} per cine")
