"""Memory that is free, given back to the system."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

__all__ = ["TIDY_EVERY", "give_back"]

TIDY_EVERY = 64
"""Frames after which free memory goes back to the system."""


def give_back() -> bool:
    """Let the C library return free pages to the system; some milliseconds, worth it every few dozen frames.

    Small things that are kept (packed masks, records) come to lie between large ones that are freed (frames, masks).
    The GNU library then grows its heap with the length of a cine, though little of it is in use.

    Returns:
        Whether there is such a library here (Linux); nothing is done elsewhere.
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
