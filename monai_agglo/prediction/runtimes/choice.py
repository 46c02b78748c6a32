"""Which engine runs the network: the fastest that is installed, and PyTorch where nothing else can."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from .frame_network import FrameRuntime
from .graphs import GraphError, graph_file, onnx_file
from .onnx_runtime import OnnxRuntime
from .openvino_runtime import OpenVinoRuntime
from .quantise import KIND, quantise_graph
from .torch_runtime import TorchRuntime

__all__ = ["PRECISIONS", "RUNTIMES", "make_runtime"]

logger = logging.getLogger(__name__)

RUNTIMES = ("auto", "torch", "onnxruntime", "openvino")
PRECISIONS = ("fp32", "int8")
ENGINES: dict[str, Callable[..., Any]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVinoRuntime}
"""On the CPU, the fastest first."""
NEEDS = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnxruntime", "onnx")}
"""Packages that an engine needs: the graph is made with onnx and checked in ONNX Runtime."""


def make_runtime(
    network: nn.Module,
    device: torch.device,
    runtime: str = "auto",
    precision: str = "fp32",
    dtype: torch.dtype | str | None = None,
    calibration: Callable[[], Iterable[np.ndarray]] | None = None,
    say: Callable[[str], None] | None = None,
) -> FrameRuntime:
    """Put a network into an engine.

    Args:
        network: the network, on its device and in evaluation mode.
        device: where to run: what is no CPU gets PyTorch.
        runtime: one of :data:`RUNTIMES`.
        precision: one of :data:`PRECISIONS`.
        dtype: autocast type of PyTorch.
        calibration: gives the frames that int8 is calibrated with, see :func:`~.quantise.quantise_graph`.
        say: told about work that takes a few seconds, once per weights.

    Returns:
        The runtime. An automatic choice falls back to PyTorch; one that was asked for does not.

    Raises:
        ValueError: for an unknown name, a runtime or precision that the device or the network does not allow.
        ImportError: when the runtime that was asked for is not installed.
        GraphError: when its graph cannot be made.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"the runtime must be one of {', '.join(RUNTIMES)}, not {runtime!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"the precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    cpu, graph = device.type == "cpu", hasattr(network, "coarse")
    if runtime in ENGINES and not cpu:
        raise ValueError(f"{runtime} runs on the CPU here: choose --device cpu, or --runtime torch for {device}")
    if runtime in ENGINES and not graph:
        raise ValueError(f"a {type(network).__name__} runs in PyTorch only: choose --runtime torch")
    if precision == "int8" and (runtime == "torch" or not cpu or not graph):
        raise ValueError("int8 needs the CPU, a CineSegmenter, and --runtime onnxruntime or openvino")
    wanted = [runtime] if runtime in ENGINES else list(ENGINES) if runtime == "auto" and cpu and graph else []
    for name in wanted:
        missing = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
        if missing:
            if runtime == name or (precision == "int8" and name == wanted[-1]):
                raise ImportError(f"the runtime {name} is not installed: pip install {' '.join(missing)}")
            continue
        try:
            return _engine(name, network, precision, calibration, say)
        except GraphError as error:
            if runtime == name or precision == "int8":
                raise
            logger.warning("%s is not used: %s", name, error)
    return TorchRuntime(network, dtype)


def _engine(
    name: str,
    network: nn.Module,
    precision: str,
    calibration: Callable[[], Iterable[np.ndarray]] | None,
    say: Callable[[str], None] | None,
) -> FrameRuntime:
    mixes = bool(getattr(getattr(network, "shift", None), "fraction", 0.0))
    options = {"multiple": int(getattr(network, "multiple", 32)), "mixes": mixes, "precision": precision}
    for attempt in (1, 2):
        path = onnx_file(network, say)
        if precision == "int8":
            source, path = path, graph_file(network, KIND)
            if not path.is_file():
                if calibration is None:
                    raise GraphError("int8 needs frames to calibrate with")
                if say is not None:
                    say("first run with these weights: quantising the network, once")
                quantise_graph(source, path, calibration())
        try:
            return ENGINES[name](path, **options)
        except Exception as error:  # a damaged file in the cache is made anew
            path.unlink(missing_ok=True)
            if attempt == 2:
                raise GraphError(f"{name} cannot load the graph ({type(error).__name__})") from error
    raise AssertionError
