"""Conversion of frame numbers to seconds, with the uncertainty due to the frame rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Clock"]


@dataclass(frozen=True)
class Clock:
    """Times of the frames of a cine.

    Args:
        times_s: (T,) seconds from the first frame; None if unknown.
        pulse: (T,) index of the first frame of the same X-ray pulse.
        frame_s: median time between two different frames in seconds; None if unknown.
    """

    times_s: np.ndarray | None
    pulse: np.ndarray
    frame_s: float | None

    @classmethod
    def of(cls, frames: int, times_ms: Sequence[float] | None, repeated: Sequence[int] = ()) -> Clock:
        """Create a clock.

        Args:
            frames: number of frames T.
            times_ms: (T,) non-decreasing frame times in ms, or None.
            repeated: frames equal to their predecessor.

        Returns:
            The clock.

        Raises:
            ValueError: the times are not T finite non-decreasing numbers, or a repeated frame does not exist.
        """
        fresh = np.ones(frames, bool)
        again = np.asarray(list(repeated), int)
        if len(again) and (again.min() < 1 or again.max() >= frames):
            raise ValueError(f"repeated frames must be within 1 to {frames - 1}, not {again.min()} to {again.max()}")
        fresh[again] = False
        pulse = np.maximum.accumulate(np.where(fresh, np.arange(frames), 0))
        if times_ms is None:
            return cls(None, pulse, None)
        times = np.asarray(times_ms, float) / 1000
        if times.shape != (frames,):
            raise ValueError(f"{times.size} frame times for {frames} frames")
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise ValueError("frame times must be finite and must not decrease")
        steps = np.diff(times[fresh])
        return cls(times - times[0] if frames else times, pulse, float(np.median(steps)) if len(steps) else None)

    @property
    def known(self) -> bool:
        """Whether the frame times are known."""
        return self.times_s is not None

    def between(self, first: int, last: int) -> float:
        """Time between two frames in seconds; nan without times."""
        return float("nan") if self.times_s is None else float(self.times_s[last] - self.times_s[first])

    def plus_minus(self, *frames: int) -> float:
        """Longest time since the previous X-ray pulse at the given frames in seconds; nan if unknown."""
        if self.times_s is None or self.frame_s is None:
            return float("nan")
        steps = []
        for frame in frames:
            here = int(self.pulse[frame])
            steps.append(self.times_s[here] - self.times_s[self.pulse[here - 1]] if here > 0 else self.frame_s)
        return float(max(steps))
