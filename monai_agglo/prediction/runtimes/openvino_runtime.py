"""OpenVINO on the CPU."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from .frame_runtime import CoarseLogits, NetworkFacts, padded, processors
from .onnx_runtime import AT_ONCE, WINDOW

__all__ = ["OpenVinoRuntime"]


class OpenVinoRuntime:
    """Runs a graph in OpenVINO. See :class:`~.frame_runtime.FrameRuntime`.

    Args:
        path: the graph, see :mod:`monai_agglo.bundle.exports.graph`.
        facts: of the network; a call must see all frames of a window where they depend on each other.
        precision: of the graph.
        threads: per call.
    """

    name = "openvino"

    def __init__(self, path: Path, facts: NetworkFacts, precision: str = "fp32", threads: int = 1) -> None:
        import openvino

        self.workers = max(1, processors() // threads)
        options: dict[str, object] = {"NUM_STREAMS": self.workers, "INFERENCE_NUM_THREADS": self.workers * threads}
        # without the hint OpenVINO computes in bfloat16 where the processor can, which is another precision
        options["INFERENCE_PRECISION_HINT"] = "f32"
        core = openvino.Core()
        self._model = core.compile_model(core.read_model(str(path)), "CPU", options)
        self._requests = threading.local()
        self.facts = facts
        self.precision = precision
        self.window = None if facts.mixes else WINDOW

    def run(self, frames: np.ndarray) -> CoarseLogits:
        """Segment successive frames (N, 1, H, W) float32 of one cine."""
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._model.create_infer_request()
        frames = padded(np.ascontiguousarray(frames, np.float32), self.facts.multiple)
        step = len(frames) if self.facts.mixes else AT_ONCE
        parts = [np.array(request.infer({0: frames[i : i + step]})[0]) for i in range(0, len(frames), step)]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return CoarseLogits(values, 2, frames.shape[2] // (2 * values.shape[2]))
