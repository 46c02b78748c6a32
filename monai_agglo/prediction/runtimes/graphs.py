"""The network as an ONNX graph, made once per weights and kept in the user's cache."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from monai_agglo import __version__
from monai_agglo.files import atomic_path

from .frame_network import FrameNetwork

__all__ = ["GraphError", "cache_folder", "graph_file", "onnx_file", "write_graph"]

logger = logging.getLogger(__name__)

OPSET = 17
CLOSE = 1e-3
"""Largest difference of logits from PyTorch's that a graph may have."""


class GraphError(RuntimeError):
    """A network that cannot be had as a graph here, in one sentence."""


def cache_folder() -> Path:
    """Where graphs are kept: ``MONAI_AGGLO_CACHE``, else ``monai_agglo/graphs`` in the user's cache."""
    if os.environ.get("MONAI_AGGLO_CACHE"):
        return Path(os.environ["MONAI_AGGLO_CACHE"]).expanduser() / "graphs"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai_agglo" / "graphs"


def graph_file(network: nn.Module, kind: str = "fp32") -> Path:
    """The place of a network's graph: its name changes with the weights, the architecture and the software.

    Args:
        network: the network.
        kind: of graph.
    """
    digest = hashlib.sha256(f"{__version__} {torch.__version__} {OPSET} {kind}\n{network}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return cache_folder() / f"{digest.hexdigest()[:24]}-{kind}.onnx"


def onnx_file(network: nn.Module, say: Callable[[str], None] | None = None) -> Path:
    """The graph of a network's frames, made where it is missing.

    Args:
        network: has a method ``coarse``, see :class:`~.frame_network.FrameNetwork`.
        say: told that a graph is made, which takes a few seconds.

    Returns:
        The ONNX file.

    Raises:
        GraphError: when it cannot be made.
    """
    path = graph_file(network)
    if not path.is_file():
        if say is not None:
            say("first run with these weights: making a faster form of the network, once")
        write_graph(network, path)
    return path


def write_graph(network: nn.Module, path: Path) -> None:
    """Write the graph of a network's frames: any number of frames, any height and width that fits.

    Args:
        network: has a method ``coarse``.
        path: the ONNX file; it appears when it is whole and agrees with PyTorch.

    Raises:
        GraphError: when the network cannot be traced, or the graph does not agree with it.
    """
    multiple = int(getattr(network, "multiple", 32))
    module = FrameNetwork(network).eval()
    example = torch.rand(2, 1, 3 * multiple, 4 * multiple, generator=torch.Generator().manual_seed(0))
    axes = {"frames": {0: "n", 2: "h", 3: "w"}, "logits": {0: "n", 2: "rows", 3: "columns"}}
    place = next(network.parameters()).device
    try:
        module.cpu()
        with atomic_path(path) as partial:
            with warnings.catch_warnings(), torch.no_grad(), torch.inference_mode(False), quiet():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    module, (example,), str(partial), dynamo=False, input_names=["frames"], output_names=["logits"],
                    opset_version=OPSET, dynamic_axes=axes,
                )  # fmt: skip
            _compare(module, partial, multiple)
    except GraphError:
        raise
    except Exception as error:
        raise GraphError(f"the network cannot be written as an ONNX graph ({type(error).__name__}: {error})") from error
    finally:
        module.to(place)


def _compare(module: nn.Module, path: Path, multiple: int) -> None:
    """Another number and size of frames than in the trace must give the same logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for count, rows, columns in ((1, 2, 3), (3, 5, 4)):
        frames = torch.rand(count, 1, rows * multiple, columns * multiple, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected = module(frames).numpy()
        found = session.run(None, {"frames": frames.numpy()})[0]
        worst = float(np.abs(found - expected).max())
        if found.shape != expected.shape or not worst < CLOSE:
            raise GraphError(f"the graph differs from the network by {worst:.2g}")


class quiet:
    """Nothing of what an exporter prints reaches the person: its own messages are about itself."""

    def __enter__(self) -> None:
        self._level = logging.getLogger("torch.onnx").level
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        self._out, sys.stdout = sys.stdout, open(os.devnull, "w")

    def __exit__(self, *error: object) -> None:
        sys.stdout.close()
        sys.stdout = self._out
        logging.getLogger("torch.onnx").setLevel(self._level)
