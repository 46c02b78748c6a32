"""One network, several engines: PyTorch, ONNX Runtime, OpenVINO, all giving the same coarse logits of frames."""

from .choice import PRECISIONS, RUNTIMES, make_runtime
from .frame_network import CoarseLogits, FrameNetwork, FrameRuntime
from .graphs import GraphError, cache_folder, graph_file, write_graph
from .quantise import quantise_graph
from .torch_runtime import TorchRuntime

__all__ = [
    "PRECISIONS",
    "RUNTIMES",
    "CoarseLogits",
    "FrameNetwork",
    "FrameRuntime",
    "GraphError",
    "TorchRuntime",
    "cache_folder",
    "graph_file",
    "make_runtime",
    "quantise_graph",
    "write_graph",
]
