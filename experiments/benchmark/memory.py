"""Peak memory of this process, resettable on Linux."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["forget_peak", "peak_mb"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> bool:
    """Reset the peak to the current memory.

    Returns:
        Whether the reset is supported (Linux); otherwise the peak is that of the process lifetime.
    """
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak_mb() -> float | None:
    """Largest resident memory of this process so far, in MB (1e6 bytes); None if unavailable.

    ``ru_maxrss`` alone is insufficient: a process inherits it from its parent.
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
