"""Settings of a benchmark run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """Settings shared by all suites.

    Args:
        work: folder of reusable files: cines, ONNX files.
        quick: small sizes and few repeats, for a functional check; figures are not meaningful.
        seconds: approximate time budget of the suite.
        log: progress callback, one line per call.
        started: start of the suite, ``time.monotonic``.
        before: an older checkout to measure interleaved with this one; None for this one alone.
    """

    work: Path
    quick: bool
    seconds: float
    log: Callable[[str], None]
    started: float
    before: Path | None = None

    @property
    def left(self) -> float:
        """Remaining seconds, at least 0."""
        return max(0.0, self.started + self.seconds - time.monotonic())

    def share(self, part: float) -> float:
        """A fraction of the time budget, at most the remaining time."""
        return min(self.left, part * self.seconds)

    def pick(self, whole, quick):
        """Value for a full or a quick run."""
        return quick if self.quick else whole
