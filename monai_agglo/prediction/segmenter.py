"""Streaming segmentation with a bundle's network: windows of frames in, masks out, in constant memory."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monai_agglo.cine.cine import Cine
from monai_agglo.cine.intensity import exposed_range, resize_plane, sample_slices
from monai_agglo.locate import find_bundle
from monai_agglo.malloc import TIDY_EVERY, give_back
from monai_agglo.swallow import TARGETS

from . import bridge
from .coarse_masks import lowres_probabilities, threshold_masks
from .errors import BundleError
from .runtimes import BundleNetwork, FrameRuntime, check_choice, make_runtime
from .settings import Fit, Scale, read_settings

__all__ = ["BundleError", "SegmentedFrame", "Segmenter"]

LOWRES = 128
"""Longer side of the probability maps handed to the view check, in pixels."""


@dataclass(frozen=True)
class SegmentedFrame:
    """One frame with its masks.

    Args:
        index: 0-based frame index.
        frame: (H, W) as read.
        masks: (S, H, W) bool, in source geometry.
        probabilities: (S, h, w) float32 in 0..1, averaged down to at most 128 pixels.
    """

    index: int
    frame: np.ndarray
    masks: np.ndarray
    probabilities: np.ndarray


class Segmenter:
    """The network of a bundle with its own preprocessing and inferer, applied to streams of frames.

    Configs are code: run only bundles from people you trust.

    Args:
        bundle: a bundle's folder or name, see :func:`monai_agglo.bundle.find_bundle`.
        device: torch device; the first GPU when there is one, else the CPU, when None.
        size: longer side of the frames as the network sees them; the bundle's own when None.
        batch: frames of a window; the bundle's own when None, or fewer where the runtime has no use for more.
        runtime: ``torch``, ``onnxruntime``, ``openvino``, or ``auto``: on the CPU the fastest that is installed.
        precision: ``fp32`` (on a GPU the bundle's own) or ``int8``.
        log: called with a line before slow one-time work.

    Raises:
        ImportError: when the runtime that was asked for is not installed.
        ValueError: when device, runtime and precision do not go together.
        BundleError: when weights and network do not belong together, or the preprocessing cannot be streamed.
        FileNotFoundError: when there is no such bundle or it has no weights.
    """

    def __init__(
        self,
        bundle: str | os.PathLike | None = None,
        device: str | None = None,
        size: int | None = None,
        batch: int | None = None,
        runtime: str = "auto",
        precision: str = "fp32",
        log: Callable[[str], None] | None = None,
    ) -> None:
        check_choice(runtime, precision, device)
        if batch is not None and batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        if size is not None and size < 16:
            raise ValueError(f"frames must be at least 16 pixels, not {size}")
        self.folder = find_bundle(bundle or "vfss_seg")
        self.structures = TARGETS
        self.settings = read_settings(self.folder)
        self.threshold, self.cut = self.settings.threshold, self.settings.cut
        self._steps = [Fit(size) if isinstance(step, Fit) and size else step for step in self.settings.steps]
        self._batch = batch
        self.source = BundleNetwork(self.folder, self.settings)
        cpu_only = runtime in ("onnxruntime", "openvino") or precision == "int8"
        self.device = device or ("cpu" if cpu_only else bridge.default_device())
        self._network: Any = None
        self.runtime: FrameRuntime = make_runtime(
            self.source, self.device, runtime, precision, self.settings.dtype, log
        )
        self.metadata = json.loads((self.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))

    @property
    def size(self) -> int:
        """Longer side of the frames as the network sees them; 512 where the bundle takes them as they come."""
        return next((step.size for step in self._steps if isinstance(step, Fit) and step.size), 512)

    @property
    def network(self) -> Any:
        """The network in PyTorch, loaded on first use. Another one that is set in its place is run by PyTorch."""
        if self._network is None:
            self._network = getattr(self.runtime, "network", None) or self.source.module(self.device)
        return self._network

    @network.setter
    def network(self, network: Any) -> None:
        self._network = network
        self.runtime = bridge.torch_runtime(network, self.settings.dtype)

    @property
    def batch(self) -> int:
        """Frames of a window."""
        if self._batch is not None:
            return self._batch
        window = self.settings.window
        return min(window, self.runtime.window) if self.runtime.window else window

    @property
    def ahead(self) -> int:
        """Maximum number of frames that :meth:`run` buffers."""
        return (self.runtime.workers + 2) * (self.batch + 2 * self.context)

    @property
    def context(self) -> int:
        """Additional frames on both sides of a window that the network needs, see :meth:`segment_window`."""
        return self.settings.context

    @property
    def lookahead(self) -> int:
        """Number of later frames that the masks of a frame depend on: 0 without temporal shift or with a causal one."""
        facts = self.runtime.facts
        return self.context if facts.mixes and not facts.causal else 0

    def identity(self) -> dict[str, Any]:
        """Bundle name, version and SHA-256 of the weights, for the record."""
        return {
            "bundle": self.metadata.get("name") or self.folder.name,
            "version": self.metadata.get("version"),
            "weights_sha256": self.source.weights_sha256,
        }

    def intensity_range(self, cine: Cine | Iterable[np.ndarray]) -> tuple[float, float]:
        """Grey levels that map to 0 and 1 by the bundle's scaling, from a sample of the frames.

        Args:
            cine: an open cine, of which a few frames are decoded; or, for a stream without an end, some of its frames
                (H, W) of one size, which are all used.

        Returns:
            Intensities as read; equal for a cine without any contrast.

        Raises:
            ValueError: when there is no frame.
        """
        for position, step in enumerate(self._steps):
            if isinstance(step, Scale):
                shape = getattr(cine, "shape", None)
                frames = cine if shape is None else cine.frames(sample_slices(shape)[2])  # type: ignore[union-attr]
                sample = [self._prepare(frame, position) for frame in frames]
                if not sample:
                    raise ValueError("there is no frame to take the range of grey levels from")
                stack = np.stack(sample, axis=-1)
                rows, columns, _ = sample_slices((*stack.shape[:-1], shape[2] if shape else len(sample)))
                return exposed_range(stack[:, rows, columns], step.low, step.high)
        return 0.0, 1.0

    def _prepare(self, frame: np.ndarray, stop: int) -> np.ndarray:
        """One frame (H, W) through the resizing steps before ``stop``: (1, h, w) float32."""
        plane = np.ascontiguousarray(frame, np.float32)
        for step in self._steps[:stop]:
            if isinstance(step, Fit):
                rows, columns = step.shape(*plane.shape)
                plane = plane if plane.shape == (rows, columns) else resize_plane(plane, rows, columns, False)
        return plane[None]

    def run(self, cine: Cine, limits: tuple[float, float]) -> Iterator[SegmentedFrame]:
        """Segment every frame of a cine, in order.

        Args:
            cine: an open cine.
            limits: from :meth:`intensity_range`.

        Yields:
            One result per frame. Windows are read, segmented and handed over at the same time, by as many threads as
            the runtime has use for; at most :attr:`ahead` frames are held, however long the cine is.

        Raises:
            CineReadError: when a frame is damaged.
        """
        workers = self.runtime.workers
        due = TIDY_EVERY
        waiting: deque[Future[list[SegmentedFrame]]] = deque()
        with ThreadPoolExecutor(workers, "segment") as pool:
            try:
                for frames, lead, start, count in self._windows(cine):
                    waiting.append(pool.submit(self.segment_window, frames, limits, lead, start, count))
                    if len(waiting) > workers:  # one is ready to start when another ends
                        yield from waiting.popleft().result()
                    if start >= due:
                        due = start + TIDY_EVERY
                        give_back()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        give_back()

    def _windows(self, cine: Cine) -> Iterator[tuple[list[np.ndarray], int, int, int]]:
        """Frames of each window with their context, how many of them come before it, its start and its length."""
        context, total = self.context, cine.shape[2]
        held: list[np.ndarray] = []
        first, start = 0, 0  # index of held[0], and of the next frame to segment
        frames = cine.frames()
        while start < total:
            stop = min(start + self.batch, total)
            while first + len(held) < min(stop + context, total):
                held.append(next(frames))
            lead = min(context, start - first)
            yield held[start - lead - first :], lead, start, stop - start
            drop = max(0, stop - context - first)
            held, first, start = held[drop:], first + drop, stop

    def segment_window(
        self,
        frames: Sequence[np.ndarray],
        limits: tuple[float, float],
        lead: int = 0,
        start: int = 0,
        count: int | None = None,
    ) -> list[SegmentedFrame]:
        """Segment successive frames in one batch.

        A network with a temporal shift needs :attr:`context` frames on both sides of those that are wanted, or before
        them only when the shift is causal. The first and the last frames of a cine have none.

        Args:
            frames: (H, W) frames of one size, any real dtype: ``lead`` earlier ones, the wanted ones, and later ones.
            limits: from :meth:`intensity_range`.
            lead: how many of ``frames`` come before the wanted ones.
            start: index of the first wanted frame in the cine, for the results.
            count: how many frames are wanted; all after ``lead`` when None.

        Returns:
            One result per wanted frame, in order; empty when none is wanted.

        Raises:
            ValueError: when the frames differ in size, or ``lead`` and ``count`` do not fit them.
            BundleError: when the network's channels are not the structures of the table.
        """
        count = len(frames) - lead if count is None else count
        if lead < 0 or count < 0 or lead + count > len(frames):
            raise ValueError(f"{lead} earlier and {count} wanted frames do not fit {len(frames)} frames")
        if not count:
            return []
        if len({frame.shape for frame in frames}) > 1:
            raise ValueError(f"the frames of a cine must have one size, not {sorted({f.shape for f in frames})}")
        wanted = frames[lead : lead + count]
        batch, sizes = self._stack(frames, limits)
        coarse = self.runtime.run(batch)
        coarse = replace(coarse, values=coarse.values[lead : lead + count])
        shape, channels = batch.shape[2:], coarse.values.shape[1] // coarse.fold**2
        if channels != len(self.structures):
            raise BundleError(
                f"{self.folder.name}: the network gives {channels} channels, the table has {len(self.structures)}"
            )
        small = lowres_probabilities(coarse, channels, shape, LOWRES)
        options = (coarse.fold, coarse.scale, shape, self.cut, self.settings.main_parts, self.structures)
        results = []
        for i, (frame, values) in enumerate(zip(wanted, coarse.values)):
            masks = threshold_masks(values, *options)
            for rows, columns in reversed(sizes):
                if masks.shape[1:] != (rows, columns):
                    masks = np.stack([resize_plane(mask, rows, columns, True) for mask in masks])
            results.append(SegmentedFrame(start + i, frame, masks.view(bool), small[i]))
        return results

    def prepare(self, frames: Sequence[np.ndarray], limits: tuple[float, float]) -> np.ndarray:
        """Frames as network input.

        Args:
            frames: (H, W) frames of one size.
            limits: from :meth:`intensity_range`.

        Returns:
            (N, 1, h, w) float32 in 0..1.
        """
        return self._stack(frames, limits)[0]

    def _stack(
        self, frames: Sequence[np.ndarray], limits: tuple[float, float]
    ) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Frames as network input, (N, 1, h, w) float32, and their sizes before each resizing."""
        planes = [np.ascontiguousarray(frame, np.float32) for frame in frames]
        sizes: list[tuple[int, int]] = []
        for step in self._steps:
            if isinstance(step, Fit):
                sizes.append(planes[0].shape)  # type: ignore[arg-type]
                rows, columns = step.shape(*planes[0].shape)
                if (rows, columns) != planes[0].shape:
                    planes = [resize_plane(plane, rows, columns, False) for plane in planes]
            else:
                planes = [step(plane, limits) for plane in planes]
        return np.stack(planes)[:, None], sizes
