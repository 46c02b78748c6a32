"""Return free heap memory to the operating system."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

__all__ = ["TIDY_EVERY", "give_back"]

TIDY_EVERY = 64
"""Number of frames between two calls of :func:`give_back`."""


def give_back() -> bool:
    """Return free heap pages to the operating system (``malloc_trim`` of glibc; takes a few milliseconds).

    Long-lived small objects (packed masks, records) are allocated between short-lived large ones (frames, masks).
    The fragmented heap of glibc then grows with the length of the cine.

    Returns:
        False where the C library has no ``malloc_trim`` (musl, macOS, Windows).
    """
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True


@lru_cache(maxsize=1)
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # musl, macOS; Windows
        return None
