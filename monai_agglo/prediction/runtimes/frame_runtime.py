"""Interface of the engines: frames in, logits at the resolution of the network's head out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["CoarseLogits", "FrameRuntime", "NetworkFacts", "padded", "processors"]


@dataclass(frozen=True)
class CoarseLogits:
    """Logits of a few frames before they are scaled up to the frames.

    Args:
        values: (N, S * fold * fold, h, w) float32, C order; every structure has a ``fold`` x ``fold`` block of logits
            per position, row by row (a sub-pixel convolution's output).
        fold: side of the block.
        scale: pixels of the frame per logit, along each axis.
    """

    values: np.ndarray
    fold: int
    scale: int


@dataclass(frozen=True)
class NetworkFacts:
    """What a runtime must know of its network; written into the graph.

    Args:
        multiple: height and width of its input are multiples of this, in pixels.
        mixes: frames depend on their neighbours (temporal shift).
        causal: they depend on earlier ones only.
    """

    multiple: int = 32
    mixes: bool = False
    causal: bool = False


class FrameRuntime(Protocol):
    """A network loaded into an engine.

    Attributes:
        name: ``torch``, ``onnxruntime`` or ``openvino``.
        precision: ``fp32``, ``int8``, ``bf16`` or ``fp16``.
        workers: calls of :meth:`run` that are worth making at the same time, each from a thread of its own.
        window: frames that one call is worth making for; more only take memory. None where more are faster or needed.
        facts: what the network is, see :class:`NetworkFacts`.
    """

    name: str
    precision: str
    workers: int
    window: int | None
    facts: NetworkFacts

    def run(self, frames: np.ndarray) -> CoarseLogits:
        """Segment successive frames of one cine.

        Args:
            frames: (N, 1, H, W) float32 within 0..1, C order.

        Returns:
            Their logits.
        """
        ...


def padded(frames: np.ndarray, multiple: int) -> np.ndarray:
    """Frames (N, 1, H, W) padded below and right to a multiple, by repeating the border as the network does it."""
    below, right = -frames.shape[2] % multiple, -frames.shape[3] % multiple
    return np.pad(frames, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge") if below or right else frames


def processors() -> int:
    """Processors that this process may use, at most ``OMP_NUM_THREADS``."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, min(allowed, int(wanted))) if wanted.isdigit() else allowed
