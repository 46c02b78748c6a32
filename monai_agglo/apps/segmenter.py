"""A bundle's network run over a cine as a stream: a window of frames in, their masks out, memory flat."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import EnsureChannelFirstd, EnsureTyped, LoadImaged

from monai_agglo.bundle import find_bundle
from monai_agglo.bundle.config_check import load_parser
from monai_agglo.bundle.doctor import sha256
from monai_agglo.data import Cine, PseudonymizeMetad
from monai_agglo.data.transforms import FitFramesd, ScaleCineIntensityd, exposed_range
from monai_agglo.inferers import CineInferer
from monai_agglo.swallow import TARGETS, keep_main_parts

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
        batch: frames per call of the network; the bundle's own when None.

    Raises:
        BundleError: when weights and network do not belong together, or the preprocessing cannot be streamed.
        FileNotFoundError: when there is no such bundle or it has no weights.
    """

    def __init__(
        self,
        bundle: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        size: int | None = None,
        batch: int | None = None,
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
        self.batch = self._inferer.window
        self.weights = self.folder / "models" / "model.pt"
        self.network = self._network(parser)
        self.metadata = json.loads((self.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))

    @property
    def size(self) -> int:
        """Longer side of the frames as the network sees them; 512 where the bundle takes them as they come."""
        return next((step.size for step in self._steps if isinstance(step, FitFramesd) and step.size), 512)

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
        # The probabilities are wanted too, so the cut is made here; windows are cut here, with their context.
        inferer.threshold, inferer.progress = None, False
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
        """One frame (H, W) through the steps before ``stop``: (1, h, w) float32."""
        data = {"image": torch.from_numpy(np.ascontiguousarray(frame, np.float32))[None, ..., None]}
        for step in self._steps[:stop]:
            data = step(data)
        return np.asarray(data["image"])[..., 0]

    def run(self, cine: Cine, limits: tuple[float, float]) -> Iterator[SegmentedFrame]:
        """Segment every frame of a cine, in order: the offline loop over :meth:`segment_window`.

        Args:
            cine: an open cine.
            limits: from :meth:`intensity_range`.

        Yields:
            One result per frame. At most a few windows of frames are held.

        Raises:
            CineReadError: when a frame is damaged.
        """
        context, total = self.context, cine.shape[2]
        held: list[np.ndarray] = []
        first, start = 0, 0  # index of held[0], and of the next frame to segment
        frames = cine.frames()
        while start < total:
            stop = min(start + self.batch, total)
            while first + len(held) < min(stop + context, total):
                held.append(next(frames))
            lead = min(context, start - first)
            yield from self.segment_window(held[start - lead - first :], limits, lead, start, stop - start)
            drop = max(0, stop - context - first)
            held, first, start = held[drop:], first + drop, stop

    @torch.inference_mode()
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
        window = np.stack(frames, axis=-1)
        data: dict[str, Any] = {"image": MetaTensor(np.ascontiguousarray(window, np.float32)[None])}
        for step in self._steps:
            if isinstance(step, ScaleCineIntensityd):
                data["image"] = step.scale(data["image"], *limits)
            else:
                data = step(data)
        image = data["image"]
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        logits = self._inferer(plain[None].to(self.device), self.network)[0, ..., lead : lead + count]
        if len(logits) != len(self.structures):
            raise BundleError(
                f"{self.folder.name}: the network gives {len(logits)} channels, the table has {len(self.structures)}"
            )
        pool = max(1, -(-max(logits.shape[1:3]) // GLIMPSE))
        glimpse = torch.nn.functional.avg_pool2d(logits.float().sigmoid().permute(3, 0, 1, 2), pool, ceil_mode=True)
        glimpse = glimpse.cpu().numpy()
        cut = float(torch.logit(torch.tensor(self.threshold, dtype=torch.float64)))
        cut_out = (logits > cut).to(torch.uint8).cpu()
        if self._inferer.main_parts:
            keep_main_parts(cut_out.numpy(), self._inferer.main_parts, self.structures)
        masks = MetaTensor(cut_out, applied_operations=getattr(image, "applied_operations", []))
        for step in reversed(self._steps):
            if isinstance(step, FitFramesd):
                masks = step.inverse({step.keys[0]: masks})[step.keys[0]]
        found = masks.as_tensor().numpy()
        return [SegmentedFrame(start + i, frame, found[..., i] != 0, glimpse[i]) for i, frame in enumerate(wanted)]
