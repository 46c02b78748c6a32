"""Contact sheet: selected frames with their masks in one image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from monai_agglo.files import atomic_path
from monai_agglo.swallow import STRUCTURES, Structure

from .drawing import (
    FAINT,
    INK,
    PAPER,
    WARN,
    display_window,
    draw_overlay,
    fit_to_side,
    legend,
    resize_frame,
    text_block,
    to_grey8,
)

__all__ = ["DISCLAIMER", "frame_caption", "pick_frames", "write_contact_sheet"]

DISCLAIMER = "Research use only. Not a medical device."


def frame_caption(index: int, total: int | None, time_ms: float | None, note: str = "") -> str:
    """Caption of a frame: 1-based number, time if known, and a note.

    Args:
        index: 0-based frame index.
        total: number of frames of the cine, or None.
        time_ms: milliseconds from the first frame; None if unknown.
        note: further text.

    Returns:
        One line of text.
    """
    text = f"frame {index + 1}" + (f" / {total}" if total else "")
    if time_ms is not None:
        text += f" · {time_ms / 1000:.3f} s"
    return text + (f" · {note}" if note else "")


def pick_frames(total: int, wanted: int = 12, areas: Sequence[float] | None = None) -> list[int]:
    """Select frames for the contact sheet.

    The first and last frame of the cine, and frames evenly spaced over the range with ``areas`` above zero (usually the
    bolus); without such a range frames evenly spaced over the cine.

    Args:
        total: number of frames.
        wanted: number of frames to select.
        areas: T values, for example the bolus area per frame.

    Returns:
        At most ``wanted`` ascending frame indices.
    """
    if total <= wanted:
        return list(range(total))
    active = np.flatnonzero(np.asarray(areas) > 0) if areas is not None else np.array([], int)
    if len(active) < 2 or wanted < 4:
        return sorted({round(i) for i in np.linspace(0, total - 1, wanted)})
    inner = {round(i) for i in np.linspace(active[0], active[-1], wanted - 2)}
    picked = inner | {0, total - 1}
    spare = [round(i) for i in np.linspace(0, total - 1, 4 * wanted) if round(i) not in picked]
    picked.update(spare[:: max(1, len(spare) // max(1, wanted - len(picked)))][: wanted - len(picked)])
    return sorted(picked)


def write_contact_sheet(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    masks: Iterable[np.ndarray],
    times_ms: Sequence[float | None] | None = None,
    frame_numbers: Sequence[int] | None = None,
    *,
    total: int | None = None,
    structures: Sequence[Structure] | None = None,
    present: Iterable[str] | None = None,
    window: tuple[float, float] | None = None,
    title: str = "",
    lines: Sequence[str] = (),
    warnings: Sequence[str] = (),
    notes: Sequence[str] | None = None,
    columns: int | None = None,
    cell: int = 380,
) -> None:
    """Write a PNG with selected frames, their masks, numbers and times, and a legend.

    Args:
        path: the PNG file, written atomically.
        frames: n frames (H, W) of one size.
        masks: n masks (S, H, W), non-zero inside a structure.
        times_ms: n frame times in milliseconds, None where unknown.
        frame_numbers: n 0-based frame indices (shown 1-based); by default 0 .. n-1.
        total: number of frames of the cine, for the captions.
        structures: structures of the channels; by default the first S of the table.
        present: names of the structures found in the cine; by default those in the shown frames.
        window: grey levels shown as black and white; by default from the first frame.
        title: heading.
        lines: further lines below the heading.
        warnings: lines below these, in amber.
        notes: n warnings, one per frame, empty for none.
        columns: frames per row; by default chosen from n.
        cell: longer side of a frame in pixels (a single frame is shown larger, beside the plain frame).

    Raises:
        ValueError: no frame, or different numbers of frames, masks, times or notes.
    """
    pairs = [(np.asarray(f), np.asarray(m)) for f, m in zip(list(frames), list(masks), strict=True)]
    count = len(pairs)
    if not count:
        raise ValueError(f"{path}: no frame to show")
    times = [None] * count if times_ms is None else list(times_ms)
    numbers = list(range(count)) if frame_numbers is None else list(frame_numbers)
    words = [""] * count if notes is None else list(notes)
    if {len(times), len(numbers), len(words)} != {count}:
        raise ValueError(f"{path}: {count} frames, {len(times)} times, {len(numbers)} numbers, {len(words)} notes")
    structures = STRUCTURES[: len(pairs[0][1])] if structures is None else structures
    window = window or display_window(pairs[0][0])
    if present is None:
        present = [s.name for i, s in enumerate(structures) if any(m[i].any() for _, m in pairs)]

    cell = 700 if count == 1 else cell
    rows_, columns_ = fit_to_side(pairs[0][0].shape, cell, cell)
    letters = max(13, cell // 28)
    cells = []
    if count == 1:
        plain = resize_frame(to_grey8(pairs[0][0], window), (rows_, columns_))
        cells.append(_cell(np.repeat(plain[..., None], 3, axis=2), "original frame", "", letters))
    for (frame, mask), time_ms, number, note in zip(pairs, times, numbers, words):
        image = draw_overlay(frame, mask, structures, window, (cell, cell))
        cells.append(_cell(image, frame_caption(number, total, time_ms), note, letters))
    tallest = max(len(c) for c in cells)
    cells = [np.pad(c, ((0, tallest - len(c)), (0, 0), (0, 0)), constant_values=PAPER[0]) for c in cells]
    columns = (
        2 if count == 1 else columns or min(len(cells), max(1, round((len(cells) * 1.4 * rows_ / columns_) ** 0.5)))
    )
    cells += [np.full_like(cells[0], PAPER[0])] * (-len(cells) % columns)
    grid = np.concatenate([np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)])
    if grid.shape[1] < 640:
        grid = np.pad(grid, ((0, 0), (0, 640 - grid.shape[1]), (0, 0)), constant_values=PAPER[0])
    width = grid.shape[1]
    head = text_block([title] if title else [], width, round(letters * 1.4), 12)
    body = text_block([*((line, INK) for line in lines), *((line, WARN) for line in warnings)], width, letters, 12)
    sheet = [head, body, grid, legend(structures, width, letters + 1, present, 12)]
    sheet.append(text_block([(DISCLAIMER, FAINT)], width, letters, 12))
    with atomic_path(path) as partial:
        Image.fromarray(np.concatenate(sheet)).save(partial, format="PNG", compress_level=4)


def _cell(image: np.ndarray, caption: str, note: str, letters: int) -> np.ndarray:
    """A frame with its caption, and an amber border if there is a note."""
    border = np.array(WARN if note else PAPER, np.uint8)
    framed = np.empty((image.shape[0] + 8, image.shape[1] + 8, 3), np.uint8)
    framed[:] = border
    framed[4:-4, 4:-4] = image
    words: list[tuple[str, tuple[int, int, int]]] = [(caption, INK)]
    if note:
        words.append((note, WARN))
    return np.concatenate([framed, text_block(words, framed.shape[1], letters)])
