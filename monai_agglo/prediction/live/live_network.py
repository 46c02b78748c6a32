"""The network on a stream: one frame at a time, with the features it carries between frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from monai_agglo.prediction import bridge
from monai_agglo.prediction.errors import BundleError
from monai_agglo.prediction.segmenter import SegmentedFrame, Segmenter

from .limits import LiveLimits

__all__ = ["LiveNetwork"]


class LiveNetwork:
    """Masks of each frame as soon as they are available.

    A network without temporal shift needs the frame alone. With a causal one PyTorch carries the features of the frame
    before; the other runtimes, whose graphs carry nothing, see the frames before again. With one that looks ahead a
    frame waits for as many later ones as the bundle's inferer asks for.

    Args:
        segmenter: the bundle; it must not be used elsewhere meanwhile.
        limits: grey levels that become 0 and 1.

    Raises:
        BundleError: when its network looks at other frames and its inferer gives it none.
    """

    def __init__(self, segmenter: Segmenter, limits: LiveLimits) -> None:
        self._segmenter, self._limits = segmenter, limits
        mixes, causal = segmenter.runtime.facts.mixes, segmenter.runtime.facts.causal
        if mixes and not segmenter.context:
            raise BundleError(
                f"{segmenter.folder.name}: its network looks at other frames, but the inferer of its inference.json "
                "has context 0: set it to 1, or its masks depend on where windows are cut"
            )
        self.lookahead = segmenter.lookahead
        self._back = segmenter.context
        self.memory = "none"
        if causal:
            self.memory = f"the {self._back} frames before"
            if segmenter.runtime.name == "torch" and segmenter.source.title == "CineSegmenter":
                segmenter.runtime = bridge.carrying_runtime(segmenter.network, segmenter.settings.dtype)
                self._back, self.memory = 0, "features of the frame before"
        elif mixes:
            self.memory = f"{self._back} frames before and after"
        self._held: deque[np.ndarray] = deque(maxlen=self._back + 1 + self.lookahead)
        self._taken = self._given = 0

    def add(self, frame: np.ndarray) -> Iterator[SegmentedFrame]:
        """Take the next frame, (H, W); gives the frames that can be segmented now."""
        self._limits.of(frame)
        self._held.append(frame)
        self._taken += 1
        if self._taken - self._given > self.lookahead:
            yield self._next()

    def flush(self) -> Iterator[SegmentedFrame]:
        """Segment the frames that waited for later ones."""
        while self._given < self._taken:
            yield self._next()

    def _next(self) -> SegmentedFrame:
        """Segment the oldest frame that waits."""
        first = self._taken - len(self._held)
        lead = min(self._back, self._given - first)
        frames = list(self._held)[self._given - lead - first :]
        (found,) = self._segmenter.segment_window(frames, self._limits.final, lead, self._given, 1)
        self._given += 1
        return found
