"""ONNX file of a network, frames in and coarse logits out, compared with PyTorch before it is kept."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_agglo import __version__
from monai_agglo.files import atomic_path
from monai_agglo.inferers.torch_runtime import TorchRuntime
from monai_agglo.prediction.errors import GraphError
from monai_agglo.prediction.runtimes.graphs import INFO, BundleNetwork

__all__ = ["OPSET", "FrameNetwork", "graph_info", "quiet", "set_properties", "write_graph"]

OPSET = 17
CLOSE = 1e-3
"""Largest difference of logits from PyTorch's that a graph may have."""


class FrameNetwork(nn.Module):
    """A :class:`~monai_agglo.networks.CineSegmenter` as the engines see it: frames in, coarse logits out.

    Args:
        network: has a method ``coarse``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Run.

        Args:
            frames: (N, 1, H, W), successive frames of one cine; H and W are multiples of the network's ``multiple``.

        Returns:
            (N, 4 * S, h, w).
        """
        return self.network.coarse(frames.permute(1, 2, 3, 0)[None])  # type: ignore[operator]


class quiet:
    """Silences exporters: their messages are about themselves."""

    def __enter__(self) -> None:
        self._level = logging.getLogger("torch.onnx").level
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        self._out, sys.stdout = sys.stdout, open(os.devnull, "w")

    def __exit__(self, *error: object) -> None:
        sys.stdout.close()
        sys.stdout = self._out
        logging.getLogger("torch.onnx").setLevel(self._level)


def graph_info(network: nn.Module, source: BundleNetwork | None = None) -> dict[str, Any]:
    """Facts for the graph's properties, see :func:`~monai_agglo.prediction.runtimes.graphs.read_graph_info`."""
    info: dict[str, Any] = vars(TorchRuntime(network).facts) | {"software": __version__, "opset": OPSET}
    if source is not None:
        info |= {"weights_sha256": source.weights_sha256, "network": source.settings.network_text}
    return info


def write_graph(network: nn.Module, path: Path, properties: dict[str, Any] | None = None) -> None:
    """Write the graph of a network's frames: any number of frames, any height and width that fits.

    Args:
        network: has a method ``coarse``.
        path: the ONNX file; it appears when it is whole and agrees with PyTorch.
        properties: of the file, JSON-able; :func:`graph_info` of the network when None.

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
            set_properties(partial, properties or {INFO: graph_info(network)})
            _compare(module, partial, multiple)
    except GraphError:
        raise
    except Exception as error:
        raise GraphError(f"the network cannot be written as an ONNX graph ({type(error).__name__}: {error})") from error
    finally:
        module.to(place)


def set_properties(path: Path, properties: dict[str, Any]) -> None:
    """Write properties into an ONNX file, each as JSON."""
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in properties.items()})
    onnx.save(model, str(path))


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
