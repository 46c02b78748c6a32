"""Memory that tensors gave back stays with the process: the next step need not ask the system for it again."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Of glibc's ``mallopt``, see malloc.h."""


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, for the rest of this process.

    Activations of a training step on a CPU are tens of megabytes each. The C library of Linux hands blocks of that size
    back to the system at once, which then has to give out and clear the same pages at every step: much of the time of
    a light student. Peak memory grows by the gaps between blocks, and what is not in use is no longer given to others.

    Returns:
        Whether it was done; other C libraries than glibc are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))
