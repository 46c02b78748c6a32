"""Luminance of decoded video frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from .grey import full_range, rgb_to_grey


def frame_to_grey(frame: Any, limited: bool) -> np.ndarray:
    """Full-range luminance of a decoded frame.

    YUV video stores luminance as a separate plane, which is used without colour conversion.

    Args:
        frame: a PyAV frame.
        limited: stretch broadcast luminance (16 to 235 of 8 bits) to the full range, see :func:`is_limited`.

    Returns:
        (H, W) uint8, or uint16 for more than 8 bits.
    """
    luminance = _luminance_plane(frame)
    if luminance is None:
        return rgb_to_grey(frame.reformat(format="rgb24").to_ndarray())
    bits = frame.format.components[0].bits
    return full_range(bits)[luminance] if limited else luminance.astype(luminance.dtype.newbyteorder("="))


def is_limited(frame: Any) -> bool:
    """Whether luminance uses the broadcast range, 16 to 235 of 8 bits.

    Without a colour range in the file the broadcast range is the default. Some recorders and encoders write the full
    range without stating it: the black border of a fluoroscopic image then lies below 16.

    Args:
        frame: the first frame of the video.

    Returns:
        True where the luminance must be stretched.
    """
    name = frame.format.name
    luminance = _luminance_plane(frame)
    if luminance is None or name.startswith(("gray", "yuvj")) or int(frame.color_range) == 2:
        return False
    if int(frame.color_range) == 1:
        return True
    scale = 1 << (frame.format.components[0].bits - 8)
    outside = (luminance < 12 * scale) | (luminance > 240 * scale)
    return bool(outside.mean() <= 0.005)


def _luminance_plane(frame: Any) -> np.ndarray | None:
    """(H, W) luminance samples as decoded; None for other colour models (RGB, palette)."""
    form = frame.format
    if form.is_rgb or form.has_palette or not form.name.startswith(("gray", "yuv", "nv", "yuyv", "uyvy", "p0")):
        return None
    if not form.is_planar and not form.name.startswith("gray"):
        frame = frame.reformat(format="yuv422p")
        form = frame.format
    bits = form.components[0].bits
    plane = frame.planes[0]
    word = np.dtype("u1") if bits <= 8 else np.dtype(">u2" if form.is_big_endian else "<u2")
    rows = np.frombuffer(plane, word).reshape(-1, plane.line_size // word.itemsize)
    luminance = rows[: frame.height, : frame.width]
    if form.name.startswith("p0"):  # 10 to 16 bits, stored in the high bits
        luminance = luminance >> (16 - bits)
    return luminance
