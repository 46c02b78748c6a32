"""Settings of glibc's allocator: return free memory to the system, or keep it for the next step."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any

__all__ = ["TIDY_EVERY", "give_back", "keep_freed_memory"]

TIDY_EVERY = 64
"""Frames between two calls of :func:`give_back`."""
TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Options of glibc's ``mallopt``, see malloc.h."""


def give_back() -> bool:
    """Return free pages of the heap to the system (``malloc_trim``).

    Small long-lived blocks (packed masks, records) between large short-lived ones (frames, masks) fragment the heap,
    which would otherwise grow with the length of a cine. A call takes some milliseconds.

    Returns:
        Whether the C library supports it (glibc); a no-op elsewhere.
    """
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True


def keep_freed_memory() -> bool:
    """Keep freed memory in this process instead of returning it to the system.

    Activations of a training step on a CPU take tens of megabytes each. By default glibc returns blocks of that size
    at once, and the system has to map and clear the same pages at every step: much of the step time of a light
    student. Peak memory grows by the gaps between blocks, and unused memory is not available to other processes.

    Returns:
        Whether it was set; a no-op for other C libraries than glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))


@lru_cache(maxsize=1)
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # musl, macOS; Windows
        return None
