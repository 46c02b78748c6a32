"""Frame numbers to seconds, with what the frame rate leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Clock"]


@dataclass(frozen=True)
class Clock:
    """Times of the frames of a cine.

    Args:
        times_s: (T,) seconds from the first frame; None when not known.
        pulse: (T,) for each frame the first frame that shows the same X-ray pulse.
        frame_s: median time between two different frames, s; None when not known.
    """

    times_s: np.ndarray | None
    pulse: np.ndarray
    frame_s: float | None

    @classmethod
    def of(cls, frames: int, times_ms: Sequence[float] | None, repeated: Sequence[int] = ()) -> Clock:
        """A clock.

        Args:
            frames: their number T.
            times_ms: (T,) rising, or None.
            repeated: frames that repeat the frame before.

        Returns:
            The clock.

        Raises:
            ValueError: when the times are not T rising finite numbers, or a repeated frame does not exist.
        """
        fresh = np.ones(frames, bool)
        again = np.asarray(list(repeated), int)
        if len(again) and (again.min() < 1 or again.max() >= frames):
            raise ValueError(
                f"repeated frames lie between 1 and {frames - 1}, these between {again.min()} and {again.max()}"
            )
        fresh[again] = False
        pulse = np.maximum.accumulate(np.where(fresh, np.arange(frames), 0))
        if times_ms is None:
            return cls(None, pulse, None)
        times = np.asarray(times_ms, float) / 1000
        if times.shape != (frames,):
            raise ValueError(f"{times.size} frame times for {frames} frames")
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise ValueError("frame times must be finite and must not go back")
        steps = np.diff(times[fresh])
        return cls(times - times[0] if frames else times, pulse, float(np.median(steps)) if len(steps) else None)

    @property
    def known(self) -> bool:
        """Whether there are times."""
        return self.times_s is not None

    def between(self, first: int, last: int) -> float:
        """Seconds from one frame to another; nan without times."""
        return float("nan") if self.times_s is None else float(self.times_s[last] - self.times_s[first])

    def plus_minus(self, *frames: int) -> float:
        """What one frame is worth at these frames, s: the longest time since the pulse before; nan if unknown."""
        if self.times_s is None or self.frame_s is None:
            return float("nan")
        steps = []
        for frame in frames:
            here = int(self.pulse[frame])
            steps.append(self.times_s[here] - self.times_s[self.pulse[here - 1]] if here > 0 else self.frame_s)
        return float(max(steps))
