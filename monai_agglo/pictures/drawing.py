"""Drawing of masks on frames: contours with a halo, a light fill, labels, and the legend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from monai_agglo.swallow import STRUCTURES, Structure

__all__ = ["display_window", "draw_overlay", "fit_to_side", "legend", "resize_frame", "text_block", "to_grey8"]

INK = (235, 235, 235)
FAINT = (130, 130, 130)
PAPER = (22, 22, 24)
WARN = (255, 176, 46)
FILL = 0.14
"""Opacity of the fill."""


def display_window(frame: np.ndarray) -> tuple[float, float]:
    """Display window of a frame: its 0.5th and 99.5th percentile.

    Args:
        frame: any real array.

    Returns:
        ``(low, high)`` with ``low < high``.
    """
    values = np.asarray(frame, np.float32)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (0.5, 99.5)) if values.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def to_grey8(frame: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
    """Convert a frame to 8-bit grey.

    Args:
        frame: (H, W), any real dtype.
        window: grey levels shown as black and white; by default :func:`display_window`.

    Returns:
        (H, W) uint8.
    """
    low, high = window or display_window(frame)
    frame = np.asarray(frame)
    if frame.dtype in (np.uint8, np.uint16):
        table = _grey_table(float(low), float(high), frame.dtype.itemsize)
        return cv2.LUT(frame, table) if frame.dtype == np.uint8 else table[frame]
    return _grey8(frame, low, high)


@lru_cache(maxsize=8)
def _grey_table(low: float, high: float, size: int) -> np.ndarray:
    """Lookup table of all values of an unsigned type of ``size`` bytes."""
    return _grey8(np.arange(256**size), low, high)


def _grey8(frame: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (np.asarray(frame, np.float32) - low) * (255 / max(high - low, 1e-12))
    return np.nan_to_num(np.clip(scaled, 0, 255)).round().astype(np.uint8)


def fit_to_side(shape: tuple[int, int], smallest: int, largest: int) -> tuple[int, int]:
    """Rows and columns with the longer side scaled into ``[smallest, largest]`` pixels and the aspect ratio kept."""
    rows, columns = shape
    side = max(rows, columns)
    scale = min(max(side, smallest), largest) / side
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def resize_frame(frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a frame: area averaging to shrink, bilinear to enlarge, nearest neighbour below 64 pixels.

    Args:
        frame: (H, W) or (H, W, 3) uint8.
        shape: rows and columns of the output.

    Returns:
        The resized frame, of the same dtype.
    """
    if frame.shape[:2] == tuple(shape):
        return frame
    how = cv2.INTER_AREA if shape[0] < frame.shape[0] else cv2.INTER_LINEAR
    if max(frame.shape[:2]) < 64:
        how = cv2.INTER_NEAREST
    return cv2.resize(frame, (shape[1], shape[0]), interpolation=how)


def draw_overlay(
    frame: np.ndarray,
    masks: np.ndarray,
    structures: Sequence[Structure] | None = None,
    window: tuple[float, float] | None = None,
    side: tuple[int, int] = (512, 768),
    labels: bool = True,
) -> np.ndarray:
    """Draw masks on a frame.

    Each structure has a coloured contour on a dark halo, visible on bright and dark ground, and a light fill. The bolus
    area is never filled, so that the barium stays readable.

    Args:
        frame: (H, W) grey frame, any real dtype.
        masks: (S, H, W), non-zero inside a structure; may overlap.
        structures: structures of the channels; by default the first S of the table.
        window: grey levels shown as black and white; by default from this frame.
        side: range (smallest, largest) of the longer side of the output, in pixels.
        labels: label the vertebrae C1 .. C7.

    Returns:
        (rows, columns, 3) uint8 RGB image.

    Raises:
        ValueError: frame and masks are inconsistent.
    """
    masks = np.asarray(masks)
    structures = STRUCTURES[: len(masks)] if structures is None else structures
    if masks.ndim != 3 or masks.shape[1:] != frame.shape or len(masks) != len(structures):
        raise ValueError(
            f"masks {masks.shape} do not match a frame {frame.shape} and {len(structures)} structures (S, H, W)"
        )
    shape = fit_to_side(frame.shape, *side)
    image = cv2.cvtColor(resize_frame(to_grey8(frame, window), shape), cv2.COLOR_GRAY2RGB)
    drawn = [
        (structure, _resize_mask(mask, shape))
        for structure, mask in sorted(zip(structures, masks), key=lambda pair: pair[0].priority)
        if mask.any()
    ]
    if not drawn:
        return image
    thin = max(1, round(max(shape) / 400))
    boxes = np.array([cv2.boundingRect(mask) for _, mask in drawn])
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    margin = thin + 4  # extent of the drawing beyond the masks
    top, left = max(0, y0 - margin), max(0, x0 - margin)
    area = image[top : y1 + margin, left : x1 + margin]
    parts = [
        (structure, mask[y : y + rows, x : x + columns], (int(x - left), int(y - top)))
        for (structure, mask), (x, y, columns, rows) in zip(drawn, boxes)
    ]
    area[:] = _draw(np.ascontiguousarray(area), parts, thin)
    if labels:
        for structure, mask in drawn:
            if re.fullmatch(r"c[1-7]", structure.name):
                _stamp(image, mask, structure.name.upper(), structure.color, max(11, round(max(shape) / 42)))
    return image


def _draw(image: np.ndarray, parts: Sequence[tuple[Structure, np.ndarray, tuple[int, int]]], thin: int) -> np.ndarray:
    """Draw fills and contours; each structure with the bounding box of its mask and its position (x, y)."""
    # Structures are in order of priority: later ones overwrite the fill, the bolus clears it.
    paint = np.zeros(image.shape[:2], np.uint8)
    colors = np.zeros((256, 3), np.uint8)
    contours = []
    for i, (structure, body, (x, y)) in enumerate(parts, 1):
        place = paint[y : y + body.shape[0], x : x + body.shape[1]]
        np.copyto(place, 0 if structure.name == "bolus" else i, where=body.view(bool))
        colors[i] = structure.color
        lines = cv2.findContours(body, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))[0]
        contours.append((structure, lines))
    layer = cv2.merge([cv2.LUT(paint, np.ascontiguousarray(colors[:, channel])) for channel in range(3)])
    cv2.copyTo(cv2.addWeighted(image, 1 - FILL, layer, FILL, 0), paint, image)
    halo = image.copy()
    for _, lines in contours:
        cv2.drawContours(
            halo, lines, -1, (0, 0, 0), thin + 2
        )  # not anti-aliased: three times as fast, no visible difference
    image = cv2.addWeighted(image, 0.45, halo, 0.55, 0)
    for structure, lines in contours:
        cv2.drawContours(image, lines, -1, structure.color, thin, cv2.LINE_AA)
    return image


def _resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a mask to display size with smooth edges: interpolation and a threshold of one half."""
    mask = np.ascontiguousarray(mask if mask.dtype == bool else np.asarray(mask) != 0).view(np.uint8)
    if mask.shape == tuple(shape):
        return mask
    scaled = resize_frame(mask * np.uint8(255), shape)
    # keeps structures of a few pixels when the image shrinks
    return (scaled >= min(128, max(1, int(scaled.max())))).astype(np.uint8)


def _stamp(image: np.ndarray, mask: np.ndarray, text: str, color: tuple[int, int, int], size: int) -> None:
    """Write a label at the innermost point of a mask, inside the image."""
    x0, y0, columns, rows = cv2.boundingRect(mask)
    body = np.pad(mask[y0 : y0 + rows, x0 : x0 + columns], 1)
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.distanceTransform(body, cv2.DIST_L2, 3))
    x, y = x + x0 - 1, y + y0 - 1
    ink, halo = _glyphs(text, size)
    top = int(np.clip(y - ink.shape[0] // 2, 0, max(0, image.shape[0] - ink.shape[0])))
    left = int(np.clip(x - ink.shape[1] // 2, 0, max(0, image.shape[1] - ink.shape[1])))
    area = image[top : top + ink.shape[0], left : left + ink.shape[1]]
    ink, halo = ink[: area.shape[0], : area.shape[1]], halo[: area.shape[0], : area.shape[1]]
    bright = np.array([(c + 255) // 2 for c in color], np.float32)
    area[:] = area * (1 - halo) * (1 - ink) + bright * ink


@lru_cache(maxsize=64)
def _glyphs(text: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of a text, and of a soft dark halo around it, (h, w, 1) in 0..1 each."""
    box = _font(size).getbbox(text)
    canvas = Image.new("L", (int(box[2]) + 6, int(box[3]) + 6))
    ImageDraw.Draw(canvas).text((3, 3), text, fill=255, font=_font(size))
    ink = np.asarray(canvas, np.float32) / 255
    halo = cv2.GaussianBlur(cv2.dilate(ink, np.ones((3, 3))), (0, 0), 1) * 0.7
    return ink[..., None], halo[..., None]


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_block(
    lines: Sequence[str | tuple[str, tuple[int, int, int]]], width: int, size: int, margin: int = 8
) -> np.ndarray:
    """Render lines of text on a dark background, wrapped at the width.

    Args:
        lines: texts, or pairs of text and colour.
        width: image width in pixels.
        size: font size in pixels.
        margin: margin around the text in pixels.

    Returns:
        (rows, width, 3) uint8 RGB; no rows without lines.
    """
    rows: list[tuple[str, tuple[int, int, int]]] = []
    for line in lines:
        text, color = (line, INK) if isinstance(line, str) else line
        rows += [(part, color) for part in _wrap(text, width - 2 * margin, size)]
    pitch = round(size * 1.4)
    canvas = Image.new("RGB", (width, (pitch * len(rows) + margin) if rows else 0), PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, (text, color) in enumerate(rows):
        draw.text((margin, margin // 2 + i * pitch), text, fill=color, font=_font(size))
    return np.asarray(canvas)


def _wrap(text: str, width: int, size: int) -> list[str]:
    rows, row = [], ""
    for word in text.split():
        longer = f"{row} {word}".strip()
        if row and _font(size).getlength(longer) > width:
            rows.append(row)
            longer = word
        row = longer
    return [*rows, row]


def legend(
    structures: Iterable[Structure], width: int, size: int, present: Iterable[str] | None = None, margin: int = 8
) -> np.ndarray:
    """Render the legend: a swatch and a title per structure, in as many columns as fit.

    Args:
        structures: structures in display order.
        width: image width in pixels.
        size: font size in pixels.
        present: names of the structures found; others are greyed and marked "not seen". None for all.
        margin: margin around the text in pixels.

    Returns:
        (rows, width, 3) uint8 RGB.
    """
    structures = list(structures)
    found = None if present is None else set(present)
    titles = [s.title if found is None or s.name in found else f"{s.title} (not seen)" for s in structures]
    font, swatch = _font(size), round(size * 1.1)
    cell = swatch + 3 * margin + max((int(font.getlength(t)) for t in titles), default=0)
    columns = max(1, (width - margin) // cell)
    pitch = round(size * 1.55)
    canvas = Image.new("RGB", (width, pitch * -(-len(titles) // columns) + margin), PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, (structure, title) in enumerate(zip(structures, titles)):
        x, y = margin + (i % columns) * cell, margin // 2 + (i // columns) * pitch
        seen = found is None or structure.name in found
        box = (x, y + 2, x + swatch, y + 2 + swatch)
        draw.rectangle(box, fill=structure.color if seen else None, outline=structure.color, width=2)
        draw.text((x + swatch + margin, y), title, fill=INK if seen else FAINT, font=font)
    return np.asarray(canvas)
