"""The one error that reading a cine can end in, and the limits that keep a hostile file small."""

from __future__ import annotations

import os
from pathlib import Path

MAX_FRAME_PIXELS = 4096 * 4096
MAX_FRAMES = 20_000
MAX_HEADER_BYTES = 64 << 20  # inflated bytes before the pixel data of a deflated file
MAX_INFLATION = 250  # a real cine never deflates better than this (noise), a bomb reaches 1000
INFLATION_FREE_BYTES = 64 << 20  # below this size an odd ratio harms nobody
MAX_ITEMS = 500_000  # fragments of one encapsulated file
MAX_READ_BYTES = 16 << 30  # one array; more is read in pieces


class CineReadError(ValueError):
    """A file that cannot be read as a cine: one sentence with the reason and the name the user typed."""


def fail(source: object, reason: str) -> CineReadError:
    """The error to raise for a source.

    Args:
        source: path as the user typed it (several paths: the first is shown).
        reason: what is wrong and, where it helps, what to do; never a value read from an identifying tag.

    Returns:
        The error, not raised.
    """
    if isinstance(source, (list, tuple)):
        source = f"{os.fspath(source[0])} and {len(source) - 1} more" if len(source) > 1 else source[0]
    name = os.fspath(source) if isinstance(source, (str, Path)) else str(source)
    return CineReadError(f"{name}: {reason}")


def check_size(source: object, rows: int, cols: int, frames: int) -> None:
    """Refuse sizes that no cine has, before anything is allocated.

    Args:
        source: path for the message.
        rows: image height in pixels.
        cols: image width in pixels.
        frames: number of frames.

    Raises:
        CineReadError: a size is below one or above the limits.
    """
    if rows < 1 or cols < 1 or frames < 1:
        raise fail(source, f"the image is empty ({rows} rows, {cols} columns, {frames} frames)")
    if rows * cols > MAX_FRAME_PIXELS or max(rows, cols) > 65_535:
        raise fail(source, f"{rows} x {cols} pixels is more than the {MAX_FRAME_PIXELS} a frame may have")
    if frames > MAX_FRAMES:
        raise fail(source, f"{frames} frames is more than the {MAX_FRAMES} a cine may have")
