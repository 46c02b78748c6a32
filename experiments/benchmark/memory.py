"""Peak memory of this process, measured from a moment on where the system allows it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["forget_peak", "peak_mb"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> bool:
    """Let the peak start anew from what is held now.

    Returns:
        Whether that is possible here (Linux); the peak is that of the whole process otherwise.
    """
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak_mb() -> float | None:
    """Largest resident memory of this process so far, in MB (1e6 bytes); None where the system does not tell.

    ``ru_maxrss`` alone would not do: a process inherits it from the one that started it.
    """
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
        if found:
            return int(found[1]) * 1024 / 1e6
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / 1e6 if sys.platform == "darwin" else largest * 1024 / 1e6
