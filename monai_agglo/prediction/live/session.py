"""State of a stream in progress: packed masks, frames on disk, latencies and view checks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from monai_agglo.cine.identity import pseudonym
from monai_agglo.cine.timing import RepeatFinder
from monai_agglo.malloc import TIDY_EVERY, give_back
from monai_agglo.prediction.mask_store import MaskStore
from monai_agglo.prediction.segmenter import SegmentedFrame, Segmenter
from monai_agglo.prediction.view_check import FrameView, ViewCheck

from .latency import Latencies
from .limits import LiveLimits
from .spool import FrameSpool

__all__ = ["OnFrame", "Session"]

OnFrame = Callable[[SegmentedFrame, "float | None"], None]


class Session:
    """Keeps what the result needs of each frame.

    Args:
        segmenter: makes the masks.
        limits: grey levels that become 0 and 1.
        work: folder for temporary files.
        on_frame: called with each frame and its latency in milliseconds.
    """

    def __init__(self, segmenter: Segmenter, limits: LiveLimits, work: Path, on_frame: OnFrame | None) -> None:
        self.segmenter, self.limits = segmenter, limits
        self.check = ViewCheck.load(segmenter.folder)
        self.latencies = Latencies()
        self.views: list[FrameView] = []
        self._work, self._on_frame = work, on_frame
        self._store: MaskStore | None = None
        self._spool: FrameSpool | None = None
        self._finder = RepeatFinder()
        self._digest = hashlib.sha256()

    def begin(self, frame: np.ndarray, lossy: bool) -> None:
        """Make room for frames of this shape and type."""
        rows, columns = frame.shape
        self._store = MaskStore((rows, columns), len(self.segmenter.structures), self._work)
        self._spool = FrameSpool(frame, self._work)
        self._finder = RepeatFinder(lossy)

    def take(self, item: SegmentedFrame, came: float | None) -> None:
        """Note the latency of a segmented frame that came at a moment, then keep it."""
        latency = None if came is None else (time.monotonic() - came) * 1000
        if self._on_frame is not None:
            self._on_frame(item, latency)
        self.latencies.add(latency)
        self.kept.append(item.masks)
        self.frames.append(item.frame)
        self._finder.add(item.frame)
        self._digest.update(np.ascontiguousarray(item.frame).data)
        if self.check is not None:
            self.views.append(self.check.frame(item.probabilities))
        if len(self) % TIDY_EVERY == 0:
            give_back()

    def __len__(self) -> int:
        """Frames so far."""
        return 0 if self._store is None else len(self._store)

    @property
    def kept(self) -> MaskStore:
        """The masks."""
        assert self._store is not None
        return self._store

    @property
    def frames(self) -> FrameSpool:
        """The frames."""
        assert self._spool is not None
        return self._spool

    def repeated(self) -> list[int]:
        """Indices of frames that repeat the one before."""
        return self._finder.result()

    def pseudonym(self) -> str:
        """Stands for a stream that has no name: from its pixels."""
        return pseudonym(self._digest.hexdigest(), "stream")

    def close(self) -> None:
        """Forget masks and frames."""
        if self._store is not None:
            self._store.__exit__()
        if self._spool is not None:
            self._spool.close()
