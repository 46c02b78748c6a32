"""The grey levels that become 0 and 1 while most of the cine has not come yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_agglo.prediction.segmenter import Segmenter

__all__ = ["FREEZE_AFTER", "LiveLimits"]

FREEZE_AFTER = 32
"""Frames after which the estimate stays as it is: about one second."""


class LiveLimits:
    """Limits that were given, or an estimate from the first frames.

    The estimate is the bundle's own, from all frames so far, made anew at frames 1, 2, 4, 8 and so on, and frozen after
    ``freeze_after``: from then on a change of brightness within the cine stays one, as it does offline.

    Args:
        segmenter: whose scaling it is.
        given: low and high as intensities of the frames; None to estimate.
        freeze_after: frames that the estimate is made from.

    Raises:
        ValueError: when the limits are not two ascending numbers.
    """

    def __init__(
        self, segmenter: Segmenter, given: Sequence[float] | None = None, freeze_after: int = FREEZE_AFTER
    ) -> None:
        self._segmenter, self._given, self._last = segmenter, given is not None, freeze_after
        self._held: list[np.ndarray] = []
        self._steps: list[tuple[int, float, float]] = []
        self._count = 0
        if given is not None:
            low, high = check_limits(given)
            self._steps.append((0, low, high))

    def of(self, frame: np.ndarray) -> tuple[float, float]:
        """The limits for the next frame, (H, W)."""
        self._count += 1
        if not self._given and self._count <= self._last:
            self._held.append(frame)
            if self._count & (self._count - 1) == 0 or self._count == self._last:
                low, high = self._segmenter.intensity_range(iter(self._held))
                self._steps.append((self._count - 1, low, high))
            if self._count == self._last:
                self._held.clear()
        return self._steps[-1][1:]

    @property
    def final(self) -> tuple[float, float]:
        """The limits that hold now."""
        return self._steps[-1][1:]

    def record(self) -> dict[str, Any]:
        """What stands in the record: where the limits come from, and which hold from which frame on."""
        text = "given by the user" if self._given else f"estimated from the first {min(self._count, self._last)} frames"
        steps = [{"from_frame": start, "low": low, "high": high} for start, low, high in self._steps]
        return {"source": text, "low": self.final[0], "high": self.final[1], "steps": steps}


def check_limits(given: Sequence[float]) -> tuple[float, float]:
    """Two ascending numbers.

    Args:
        given: low and high.

    Returns:
        Both.

    Raises:
        ValueError: when they are not.
    """
    if len(given) != 2 or not all(math.isfinite(value) for value in given) or not given[0] < given[1]:
        raise ValueError(f"limits are two numbers, the lower first, not {' '.join(map(str, given))}")
    return float(given[0]), float(given[1])
