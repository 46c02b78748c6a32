"""Choice of the engine: the fastest installed one, else PyTorch."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from monai_agglo.prediction import bridge
from monai_agglo.prediction.errors import GraphError

from .frame_runtime import FrameRuntime, NetworkFacts
from .onnx_runtime import OnnxRuntime
from .openvino_runtime import OpenVinoRuntime

__all__ = ["PRECISIONS", "RUNTIMES", "NetworkSource", "check_choice", "make_runtime"]

logger = logging.getLogger(__name__)

RUNTIMES = ("auto", "torch", "onnxruntime", "openvino")
PRECISIONS = ("fp32", "int8")
ENGINES: dict[str, Callable[..., Any]] = {"onnxruntime": OnnxRuntime, "openvino": OpenVinoRuntime}
"""On the CPU, the fastest first."""
NEEDS = {"onnxruntime": ("onnxruntime",), "openvino": ("openvino", "onnxruntime")}
"""Packages of an engine; ONNX Runtime reads the facts of every graph."""


class NetworkSource(Protocol):
    """Where a network comes from, see :class:`~.graphs.BundleNetwork`."""

    @property
    def title(self) -> str: ...

    @property
    def has_graph(self) -> bool: ...

    def module(self, device: str) -> Any: ...

    def graph(self, precision: str, log: Callable[[str], None] | None) -> tuple[Path, NetworkFacts]: ...


def check_choice(runtime: str, precision: str, device: str | None) -> None:
    """Refuse unknown names and combinations, before anything is loaded.

    Args:
        runtime: one of :data:`RUNTIMES`.
        precision: one of :data:`PRECISIONS`.
        device: ``cpu``, ``cuda``, ...; None when it is not known yet.

    Raises:
        ValueError: for an unknown name, or what does not go together.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"the runtime must be one of {', '.join(RUNTIMES)}, not {runtime!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"the precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if device is not None and device != "cpu" and runtime in ENGINES:
        raise ValueError(f"{runtime} runs on the CPU here: choose --device cpu, or --runtime torch for {device}")
    if precision == "int8" and (runtime == "torch" or device not in (None, "cpu")):
        raise ValueError("int8 needs the CPU, a CineSegmenter, and --runtime onnxruntime or openvino")


def make_runtime(
    source: NetworkSource,
    device: str = "cpu",
    runtime: str = "auto",
    precision: str = "fp32",
    dtype: str = "float32",
    log: Callable[[str], None] | None = None,
) -> FrameRuntime:
    """Load a network into an engine.

    Args:
        source: of the network.
        device: where to run: PyTorch runs on all but the CPU.
        runtime: one of :data:`RUNTIMES`.
        precision: one of :data:`PRECISIONS`.
        dtype: autocast type of PyTorch, by name.
        log: called with a line before a graph is made, which takes seconds, once per weights.

    Returns:
        The runtime. An automatic choice falls back to PyTorch; an explicit one does not.

    Raises:
        ValueError: for an unknown name, a runtime or precision that device or network do not allow.
        ImportError: the runtime is not installed.
        GraphError: its graph cannot be made.
    """
    check_choice(runtime, precision, device)
    if runtime in ENGINES and not source.has_graph:
        raise ValueError(f"a {source.title} runs in PyTorch only: choose --runtime torch")
    if precision == "int8" and not source.has_graph:
        raise ValueError("int8 needs the CPU, a CineSegmenter, and --runtime onnxruntime or openvino")
    automatic = list(ENGINES) if runtime == "auto" and device == "cpu" and source.has_graph else []
    wanted = [runtime] if runtime in ENGINES else automatic
    for name in wanted:
        missing = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
        if missing:
            if runtime == name or (precision == "int8" and name == wanted[-1]):
                raise ImportError(f"the runtime {name} is not installed: pip install {' '.join(missing)}")
            continue
        try:
            path, facts = source.graph(precision, log)
            try:
                return ENGINES[name](path, facts, precision)
            except Exception as error:
                raise GraphError(f"{name} cannot load the graph ({type(error).__name__})") from error
        except GraphError as error:
            if runtime == name or precision == "int8":
                raise
            logger.warning("%s is not used: %s", name, error)
    return bridge.torch_runtime(source.module(device), dtype)
