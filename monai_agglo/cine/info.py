"""Summary of a cine file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

__all__ = ["describe", "table"]


def describe(source: str | os.PathLike[str], any_modality: bool = False, progress: bool = False) -> dict[str, Any]:
    """Decode a whole cine and summarise it.

    Args:
        source: a file, or a folder of single-frame DICOM instances.
        any_modality: accept other modalities (CT, MR, ...) too.
        progress: show a progress bar while frames are decoded.

    Returns:
        JSON-serialisable facts without identifying values: ``shape`` (rows, columns, frames), ``dtype``,
        ``value_range`` of the pixels, and the metadata of the cine (frame times in ms, spacing in mm, ...) except the
        affine.

    Raises:
        CineReadError: the cine cannot be read or a frame is damaged.
    """
    from tqdm import tqdm

    from .cine import open_cine

    cine = open_cine(source, any_modality=any_modality)
    lows, highs = [], []
    with tqdm(total=len(cine), desc="frames", unit="frame", disable=None if progress else True, delay=2) as bar:

        def watch(frame: np.ndarray) -> None:
            lows.append(frame.min())
            highs.append(frame.max())
            bar.update()

        cine.scan(watch)
    facts = {"shape": list(cine.shape), "dtype": str(cine.dtype), "value_range": [min(lows), max(highs)]}
    left_out = ("affine", "original_affine", "spatial_shape", "original_channel_dim", "space")
    facts.update((key, value) for key, value in cine.meta.items() if key not in left_out)
    return {key: _plain(value) for key, value in facts.items()}


def _plain(value: Any) -> Any:
    """Convert NumPy types to built-in types."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def table(facts: dict[str, Any]) -> str:
    """Format facts as text, one line per fact; long lists are abbreviated.

    Args:
        facts: from :func:`describe`.

    Returns:
        The text.
    """
    lines = []
    for key, value in facts.items():
        if isinstance(value, list) and len(value) > 6:
            value = f"{value[0]} ... {value[-1]} ({len(value)} values)"
        lines.append(f"{key:18} {value}")
    return "\n".join(lines)
