"""A bundle's network run over a cine as a stream: a window of frames in, their masks out, memory flat."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.transforms import EnsureChannelFirstd, EnsureTyped, LoadImaged

from monai_agglo.bundle import find_bundle
from monai_agglo.bundle.config_check import load_parser
from monai_agglo.bundle.doctor import sha256
from monai_agglo.cine.cine import Cine
from monai_agglo.cine.intensity import exposed_range, resize_plane
from monai_agglo.data import PseudonymizeMetad
from monai_agglo.data.transforms import FitFramesd, ScaleCineIntensityd
from monai_agglo.inferers import CineInferer
from monai_agglo.malloc import TIDY_EVERY, give_back
from monai_agglo.swallow import TARGETS

from .coarse_masks import cut_masks, glimpses
from .runtimes import FrameRuntime, TorchRuntime, make_runtime

__all__ = ["BundleError", "SegmentedFrame", "Segmenter"]

logger = logging.getLogger(__name__)

PLAIN = (LoadImaged, EnsureChannelFirstd, EnsureTyped, PseudonymizeMetad)
"""Steps of a bundle's preprocessing that change no pixel: a streamed frame does not need them."""
GLIMPSE = 128
"""Longer side of the probability maps handed to the view check, in pixels."""


class BundleError(ValueError):
    """A bundle that cannot be run, and what to do about it, in one sentence."""


@dataclass(frozen=True)
class SegmentedFrame:
    """One frame and what was found in it.

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
        say: told of work that takes a few seconds, once for new weights.

    Raises:
        ImportError: when the runtime that was asked for is not installed.
        ValueError: when device, runtime and precision do not go together.
        BundleError: when weights and network do not belong together, or the preprocessing cannot be streamed.
        FileNotFoundError: when there is no such bundle or it has no weights.
    """

    def __init__(
        self,
        bundle: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        size: int | None = None,
        batch: int | None = None,
        runtime: str = "auto",
        precision: str = "fp32",
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = find_bundle(bundle or "vfss_seg")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.structures = TARGETS
        config = self.folder / "configs" / "inference.json"
        if not config.is_file():
            raise FileNotFoundError(f"{self.folder}: the bundle has no configs/inference.json")
        parser = load_parser([config], self.folder)
        self._steps = self._preprocessing(parser, size)
        self._inferer = self._make_inferer(parser, batch)
        self._batch_given = batch is not None
        self.weights = self.folder / "models" / "model.pt"
        self._loaded = self._network(parser)
        options = (runtime, precision, self._inferer.dtype, self._calibration, say)
        self.runtime: FrameRuntime = make_runtime(self._loaded, self.device, *options)
        self.metadata = json.loads((self.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))

    @property
    def size(self) -> int:
        """Longer side of the frames as the network sees them; 512 where the bundle takes them as they come."""
        return next((step.size for step in self._steps if isinstance(step, FitFramesd) and step.size), 512)

    @property
    def network(self) -> torch.nn.Module:
        """The network. Another one that is set in its place is run by PyTorch."""
        return self._loaded

    @network.setter
    def network(self, network: torch.nn.Module) -> None:
        self._loaded = network
        self.runtime = TorchRuntime(network, self._inferer.dtype)

    @property
    def batch(self) -> int:
        """Frames of a window."""
        window = self._inferer.window
        return window if self._batch_given or not self.runtime.window else min(window, self.runtime.window)

    @property
    def ahead(self) -> int:
        """Frames that :meth:`run` holds at most before it hands out the first of them."""
        return (self.runtime.workers + 2) * (self.batch + 2 * self.context)

    @property
    def context(self) -> int:
        """Frames on both sides of a window that the network must see as well, see :meth:`segment_window`."""
        return self._inferer.context

    @property
    def lookahead(self) -> int:
        """Later frames that a frame's masks depend on: 0 where the network's temporal shift is causal."""
        shift = getattr(self.network, "shift", None)
        return 0 if getattr(shift, "causal", False) or not getattr(shift, "fraction", 1.0) else self.context

    def identity(self) -> dict[str, Any]:
        """What stands in every record: bundle name and version, and the SHA-256 of the weights."""
        return {
            "bundle": self.metadata.get("name") or self.folder.name,
            "version": self.metadata.get("version"),
            "weights_sha256": sha256(self.weights),
        }

    def _preprocessing(self, parser: Any, size: int | None) -> list[FitFramesd | ScaleCineIntensityd]:
        chain = parser.get_parsed_content("preprocessing")
        steps: list[FitFramesd | ScaleCineIntensityd] = []
        for step in getattr(chain, "transforms", [chain]):
            if isinstance(step, FitFramesd):
                steps.append(step if size is None else FitFramesd(step.keys, size))
            elif isinstance(step, ScaleCineIntensityd):
                steps.append(step)
            elif not isinstance(step, PLAIN):
                raise BundleError(
                    f"{self.folder.name}: its preprocessing has a {type(step).__name__}, which predict cannot stream; "
                    "use python -m monai.bundle run with its inference.json"
                )
        return steps

    def _make_inferer(self, parser: Any, batch: int | None) -> CineInferer:
        inferer = parser.get_parsed_content("inferer")
        if not isinstance(inferer, CineInferer):
            raise BundleError(
                f"{self.folder.name}: its inferer is a {type(inferer).__name__}; predict needs a CineInferer"
            )
        if batch is not None:
            if batch < 1:
                raise ValueError(f"batch must be at least 1, not {batch}")
            inferer.window = batch
        self.threshold = 0.5 if inferer.threshold is None else float(inferer.threshold)
        # A logit above this is a probability above the threshold.
        self.cut = float(torch.logit(torch.tensor(self.threshold, dtype=torch.float64)))
        return inferer

    def _network(self, parser: Any) -> torch.nn.Module:
        if not self.weights.is_file():
            raise FileNotFoundError(f"{self.folder.name}: the bundle has no weights (models/model.pt); train it first")
        network = parser.get_parsed_content("network_def")
        try:
            state = torch.load(self.weights, map_location="cpu", weights_only=True)
        except Exception as error:
            raise BundleError(
                f"{self.folder.name}: models/model.pt is not a plain file of weights ({type(error).__name__})"
            ) from None
        state = state.get("model", state) if isinstance(state, dict) else {}
        own = network.state_dict()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        shapes = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
        if missing or unknown or shapes:
            first = (missing or unknown or shapes)[0]
            raise BundleError(
                f"{self.folder.name}: models/model.pt does not belong to the network of inference.json: {len(missing)} "
                f"keys missing, {len(unknown)} unknown, {len(shapes)} of another shape (the first: {first})"
            )
        network.load_state_dict(state)
        try:
            return network.to(self.device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device {self.device} cannot be used here ({type(error).__name__}); try cpu") from None

    def _calibration(self) -> list[np.ndarray]:
        """Frames of phantoms as the network sees them, to set the ranges of an int8 network."""
        from monai_agglo.bundle.export.calibration import phantom_frames

        return [self.prepare([frame], self.intensity_range([frame]))[0, 0] for frame in phantom_frames()]

    def intensity_range(self, cine: Cine | Iterable[np.ndarray]) -> tuple[float, float]:
        """The grey levels that become 0 and 1: the bundle's own scaling, from a sample of the frames.

        Args:
            cine: an open cine, of which a few frames are decoded; or, for a stream without an end, some of its frames
                (H, W) of one size, which are all used.

        Returns:
            Intensities as read; equal for a cine without any contrast.

        Raises:
            ValueError: when there is no frame.
        """
        for position, step in enumerate(self._steps):
            if isinstance(step, ScaleCineIntensityd):
                shape = getattr(cine, "shape", None)
                frames = cine if shape is None else cine.frames(step.sampled(shape)[2])  # type: ignore[union-attr]
                sample = [self._prepare(frame, position) for frame in frames]
                if not sample:
                    raise ValueError("there is no frame to take the range of grey levels from")
                stack = np.stack(sample, axis=-1)
                rows, columns, _ = step.sampled((*stack.shape[:-1], shape[2] if shape else len(sample)))
                return exposed_range(stack[:, rows, columns], step.low, step.high)
        return 0.0, 1.0

    def _prepare(self, frame: np.ndarray, stop: int) -> np.ndarray:
        """One frame (H, W) through the resizing steps before ``stop``: (1, h, w) float32."""
        plane = np.ascontiguousarray(frame, np.float32)
        for step in self._steps[:stop]:
            if isinstance(step, FitFramesd):
                rows, columns = step.fitted(*plane.shape)
                plane = plane if plane.shape == (rows, columns) else resize_plane(plane, rows, columns, False)
        return plane[None]

    def run(self, cine: Cine, limits: tuple[float, float]) -> Iterator[SegmentedFrame]:
        """Segment every frame of a cine, in order: the offline loop over :meth:`segment_window`.

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
        """Segment a few successive frames at once; a stream calls this with what has arrived.

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
        batch, sizes = self._batch(frames, limits)
        coarse = self.runtime.run(batch)
        coarse = replace(coarse, values=coarse.values[lead : lead + count])
        shape, channels = batch.shape[2:], coarse.values.shape[1] // coarse.fold**2
        if channels != len(self.structures):
            raise BundleError(
                f"{self.folder.name}: the network gives {channels} channels, the table has {len(self.structures)}"
            )
        small = glimpses(coarse, channels, shape, GLIMPSE)
        options = (coarse.fold, coarse.scale, shape, self.cut, self._inferer.main_parts, self.structures)
        results = []
        for i, (frame, values) in enumerate(zip(wanted, coarse.values)):
            masks = cut_masks(values, *options)
            for rows, columns in reversed(sizes):
                if masks.shape[1:] != (rows, columns):
                    masks = np.stack([resize_plane(mask, rows, columns, True) for mask in masks])
            results.append(SegmentedFrame(start + i, frame, masks.view(bool), small[i]))
        return results

    def prepare(self, frames: Sequence[np.ndarray], limits: tuple[float, float]) -> np.ndarray:
        """Frames as the network takes them.

        Args:
            frames: (H, W) frames of one size.
            limits: from :meth:`intensity_range`.

        Returns:
            (N, 1, h, w) float32 in 0..1.
        """
        return self._batch(frames, limits)[0]

    def _batch(
        self, frames: Sequence[np.ndarray], limits: tuple[float, float]
    ) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Frames as the network takes them, (N, 1, h, w) float32, and their sizes before each resizing."""
        planes = [np.ascontiguousarray(frame, np.float32) for frame in frames]
        sizes: list[tuple[int, int]] = []
        for step in self._steps:
            if isinstance(step, FitFramesd):
                sizes.append(planes[0].shape)  # type: ignore[arg-type]
                rows, columns = step.fitted(*planes[0].shape)
                if (rows, columns) != planes[0].shape:
                    planes = [resize_plane(plane, rows, columns, False) for plane in planes]
            else:
                planes = [step.scale(torch.from_numpy(plane), *limits).numpy() for plane in planes]
        return np.stack(planes)[:, None], sizes
