"""Colour palettes, plain and segmented (PS3.3 C.7.9)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from .errors import fail
from .header import numbers, value

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # ITU-R BT.601, as in YBR_FULL


def palette_to_grey(dataset: Any, shown: object) -> tuple[int, np.ndarray]:
    """Luminance of a colour palette.

    Args:
        dataset: data set with the red, green and blue tables, plain or segmented.
        shown: path shown in error messages.

    Returns:
        The first mapped pixel value, and the luminance of each entry (uint8 or uint16).

    Raises:
        CineReadError: a table is missing or too short.
    """
    tables = []
    first = 0
    bits = 16
    for name in ("Red", "Green", "Blue"):
        descriptor = numbers(dataset, f"{name}PaletteColorLookupTableDescriptor")
        plain = value(dataset, f"{name}PaletteColorLookupTableData")
        segmented = value(dataset, f"Segmented{name}PaletteColorLookupTableData")
        if len(descriptor) != 3 or not isinstance(plain or segmented, bytes):
            raise fail(shown, "the colour palette is missing")
        count, first, bits = int(descriptor[0]) & 0xFFFF or 65536, int(descriptor[1]), int(descriptor[2])
        if bits not in (8, 16):
            raise fail(shown, "the entries of the colour palette have neither 8 nor 16 bits")
        if plain is not None:
            table = _plain_palette(plain, count, bits)
        else:
            table = expand_segments(segmented, count, bits)
        if len(table) < count:
            raise fail(shown, "the colour palette is shorter than its descriptor states")
        tables.append(table[:count])
    if len({len(table) for table in tables}) != 1:
        raise fail(shown, "the tables of the colour palette differ in length")
    rgb = np.stack(tables, axis=-1).astype(np.float64)
    weights = np.array([RED, GREEN, BLUE])
    grey = np.rint(rgb @ weights)
    if bits == 16 and not (rgb.astype(np.uint16) & 0xFF).any():  # 8-bit entries in the high byte
        grey, bits = np.rint(rgb @ weights / 256), 8
    return first, grey.astype(np.uint8 if bits == 8 else np.uint16)


def _plain_palette(data: bytes, count: int, bits: int) -> np.ndarray:
    if bits == 8 and len(data) < 2 * count:
        return np.frombuffer(data, "u1")
    table = np.frombuffer(data[: len(data) & ~1], "<u2")
    return table & 0xFF if bits == 8 else table


def expand_segments(data: bytes, count: int, bits: int) -> np.ndarray:
    """Expand a segmented palette (PS3.3 C.7.9.2) up to its stated length.

    Args:
        data: the segments, little endian.
        count: number of entries in the descriptor.
        bits: bits per entry, 8 or 16.

    Returns:
        At most ``count`` entries.
    """
    width = bits // 8
    words = struct.unpack(f"<{len(data) // width}{'BH'[width - 1]}", data[: len(data) // width * width])
    out: list[int] = []

    def run(position: int, segments: int, depth: int) -> None:
        while position + 1 < len(words) and segments and len(out) < count:
            kind, length = words[position], words[position + 1]
            position += 2
            if kind == 0:
                out.extend(words[position : position + length])
                position += length
            elif kind == 1 and out and position < len(words):
                target = words[position]
                out.extend(np.rint(np.linspace(out[-1], target, length + 1)[1:]).astype(int).tolist())
                position += 1
            elif kind == 2 and depth == 0:
                step = 2 if width == 2 else 4
                raw = words[position : position + step]
                offset = sum(word << (8 * width * i) for i, word in enumerate(raw))
                run(offset // width, length, 1)
                position += step
            else:
                return
            segments -= 1

    run(0, len(words), 0)
    return np.array(out[:count], np.int64)
