"""One network, several engines: PyTorch, ONNX Runtime, OpenVINO. All give the same coarse logits of frames."""

from .choice import PRECISIONS, RUNTIMES, check_choice, make_runtime
from .frame_runtime import CoarseLogits, FrameRuntime, NetworkFacts
from .graphs import BundleNetwork, cache_folder

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "BundleNetwork",
    "CoarseLogits",
    "FrameRuntime",
    "NetworkFacts",
    "cache_folder",
    "check_choice",
    "make_runtime",
]
