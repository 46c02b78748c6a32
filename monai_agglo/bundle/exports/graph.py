"""The graph of a segmenter, for the runtimes.

``python -m monai_agglo.bundle.exports.graph BUNDLE FILE PRECISION`` makes one; ``predict`` starts it where none is.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from monai_agglo import __version__
from monai_agglo.inferers.torch_runtime import TorchRuntime
from monai_agglo.prediction.errors import GraphError
from monai_agglo.prediction.runtimes.frame_runtime import NetworkFacts
from monai_agglo.prediction.runtimes.graphs import INFO, VERSION, BundleNetwork, cache_folder
from monai_agglo.prediction.settings import read_settings

from .onnx_file import graph_info, write_graph

__all__ = ["ModuleSource", "make_bundle_graph"]


class ModuleSource:
    """A network in memory as the source of a runtime, for networks that belong to no bundle.

    Args:
        network: the network, in evaluation mode.
        calibration: gives the frames (H, W) in 0..1 that int8 is calibrated with.
    """

    def __init__(self, network: nn.Module, calibration: Callable[[], Iterable[np.ndarray]] | None = None) -> None:
        self.network, self.calibration = network, calibration
        self.title = type(network).__name__
        self.has_graph = hasattr(network, "coarse")

    def module(self, device: str) -> nn.Module:
        """The network."""
        return self.network.to(device)

    def cached(self, precision: str) -> Path:
        """Place of the graph in the cache: it changes with weights, architecture and software."""
        digest = hashlib.sha256(f"{__version__} {torch.__version__} {VERSION} {precision}\n{self.network}".encode())
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
        return cache_folder() / f"{digest.hexdigest()[:24]}-{precision}.onnx"

    def graph(self, precision: str = "fp32", log: Callable[[str], None] | None = None) -> tuple[Path, NetworkFacts]:
        """The graph, made in the cache where it is missing or damaged."""
        import onnx

        path = self.cached("fp32")
        try:
            onnx.checker.check_model(str(path))
        except Exception:  # absent or damaged
            write_graph(self.network, path)
        if precision == "int8":
            if self.calibration is None:
                raise GraphError("int8 needs frames to calibrate with")
            from .quantise import quantise_graph

            source, path = path, self.cached("int8")
            if not path.is_file():
                quantise_graph(source, path, self.calibration())
        return path, TorchRuntime(self.network).facts


def make_bundle_graph(folder: Path, target: Path, precision: str = "fp32") -> None:
    """Write the graph of a bundle's network.

    Args:
        folder: of the bundle.
        target: the ONNX file.
        precision: ``fp32``, or ``int8``, calibrated with phantoms.

    Raises:
        GraphError: the network has no graph.
        BundleError: the weights do not belong to the network.
    """
    from monai_agglo.bundle.network import load_network

    source = BundleNetwork(folder, read_settings(folder))
    network = load_network(folder)
    if precision == "fp32":
        write_graph(network, target, {INFO: graph_info(network, source)})
        return
    from .quantise import quantise_bundle

    quantise_bundle(source, target, {INFO: graph_info(network, source)})


def main(arguments: list[str]) -> int:
    """Make a graph; an error goes to standard output as one line of JSON.

    Args:
        arguments: folder of the bundle, the ONNX file, the precision.

    Returns:
        0, or 1 with an error.
    """
    try:
        make_bundle_graph(Path(arguments[0]), Path(arguments[1]), arguments[2])
    except Exception as error:
        print(json.dumps({"kind": type(error).__name__, "error": " ".join(str(error).split())}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
