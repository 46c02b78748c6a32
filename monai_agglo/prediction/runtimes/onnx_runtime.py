"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .frame_runtime import CoarseLogits, NetworkFacts, padded, processors

__all__ = ["OnnxRuntime"]

AT_ONCE = 1
"""Frames per call where frames do not look at each other: the network's maps then stay in the cache, and memory low."""
WINDOW = 2
"""Frames that a thread takes at a time, so that it need not wait for the next."""


class OnnxRuntime:
    """Runs a graph in ONNX Runtime. See :class:`~.frame_runtime.FrameRuntime`.

    One call uses one thread; throughput comes from several calls at a time, which waste no time on waiting for each
    other as the threads within one call do.

    Args:
        path: the graph, see :mod:`monai_agglo.bundle.exports.graph`.
        facts: of the network; a call must see all frames of a window where they depend on each other.
        precision: of the graph.
        threads: per call.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, facts: NetworkFacts, precision: str = "fp32", threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = True
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.facts = facts
        self.precision = precision
        self.workers = max(1, processors() // threads)
        self.window = None if facts.mixes else WINDOW

    def run(self, frames: np.ndarray) -> CoarseLogits:
        """Segment successive frames (N, 1, H, W) float32 of one cine."""
        frames = padded(np.ascontiguousarray(frames, np.float32), self.facts.multiple)
        step = len(frames) if self.facts.mixes else AT_ONCE
        parts = [self._session.run(None, {self._input: frames[i : i + step]})[0] for i in range(0, len(frames), step)]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return CoarseLogits(values, 2, frames.shape[2] // (2 * values.shape[2]))
