"""What every suite is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """How a suite shall run.

    Args:
        work: folder for files that are made once and used again: cines, ONNX files.
        quick: small sizes and few repeats: shows that everything runs, its figures mean little.
        seconds: time the suite may take, about.
        log: told what goes on, in one line.
        started: when the suite began, of ``time.monotonic``.
        before: an older checkout to measure in turns with this one; None for this one alone.
    """

    work: Path
    quick: bool
    seconds: float
    log: Callable[[str], None]
    started: float
    before: Path | None = None

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self.started + self.seconds - time.monotonic())

    def share(self, part: float) -> float:
        """A fraction of the whole time, or what is left when that is less."""
        return min(self.left, part * self.seconds)

    def pick(self, whole, quick):
        """One value for a real run, another for a quick one."""
        return quick if self.quick else whole
