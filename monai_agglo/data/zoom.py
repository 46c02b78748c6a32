"""Magnification of what a student sees of a frame: checked and described without anything heavy."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["checked_zoom", "describe_zoom"]


def checked_zoom(zoom: Sequence[float] | None) -> tuple[float, float] | None:
    """Least and largest magnification, None for the whole frame.

    Args:
        zoom: two numbers.

    Returns:
        The same as a tuple.

    Raises:
        ValueError: when they are none.
    """
    if zoom is None:
        return None
    try:
        least, most = (float(value) for value in zoom)
    except (TypeError, ValueError):
        least = most = math.nan
    if not 0 < least <= most < math.inf:
        raise ValueError(f"zoom is the least and the largest magnification, such as 0.7 and 1.6, not {zoom}")
    return least, most


def describe_zoom(zoom: Sequence[float]) -> str:
    """What a student sees of each image, in words."""
    return f"a random part of each, magnified {zoom[0]:g} to {zoom[1]:g} times"
