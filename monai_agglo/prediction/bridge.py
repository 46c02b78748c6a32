"""The bridge to PyTorch: all that prediction takes from the teaching wing, imported when it is asked for.

``predict`` on a CPU runs ONNX Runtime and comes here only for a bundle without a graph (just trained). A child process
makes it, so that this process stays small.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["carrying_runtime", "default_device", "load_network", "make_graph", "need_torch", "torch_runtime"]

NEEDED = ("torch", "monai", "timm")
GRAPH_MAKER = "bundle.exports.graph"


def _teaching(module: str) -> Any:
    """A module of the teaching wing, found by name: nothing in this wing imports it."""
    return import_module(f"monai_agglo.{module}")


def need_torch(why: str) -> None:
    """Refuse in one sentence where the packages of the extra ``train`` are missing.

    Args:
        why: what needs them.

    Raises:
        ImportError: one is missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"{why} needs {', '.join(missing)}: pip install 'monai-agglo[train]'")


def default_device() -> str:
    """``cuda`` where PyTorch is installed and NVIDIA's driver names a GPU, else ``cpu``; imports nothing."""
    if importlib.util.find_spec("torch") is None:
        return "cpu"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "cpu"
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return "cpu"
    if not found:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_network(folder: Path, device: str) -> Any:
    """The network of a bundle in PyTorch.

    Args:
        folder: of the bundle.
        device: where to put it.

    Returns:
        The network in evaluation mode.
    """
    need_torch("PyTorch's runtime")
    return _teaching("bundle.network").load_network(folder, device)


def torch_runtime(network: Any, dtype: str) -> Any:
    """A network in PyTorch as a :class:`~.runtimes.frame_runtime.FrameRuntime`."""
    return _teaching("inferers.torch_runtime").TorchRuntime(network, dtype)


def carrying_runtime(network: Any, dtype: str) -> Any:
    """A causal network in PyTorch that carries the features of the frame before."""
    runtimes = _teaching("inferers.torch_runtime")
    return runtimes.TorchRuntime(runtimes.Carrying(network), dtype)


def make_graph(folder: Path, target: Path, precision: str) -> None:
    """Write the graph of a bundle's network: in a child process, or here where PyTorch is loaded already.

    Args:
        folder: of the bundle.
        target: the ONNX file.
        precision: ``fp32`` or ``int8``.

    Raises:
        ImportError: PyTorch is not installed.
        GraphError: the network has no graph.
        BundleError: the weights do not belong to the network.
    """
    need_torch(f"{folder.name}, which has no graph of its network yet,")
    if "torch" in sys.modules:
        _teaching(GRAPH_MAKER).make_bundle_graph(folder, target, precision)
        return
    from .errors import BundleError, GraphError

    command = [sys.executable, "-W", "ignore", "-m", f"monai_agglo.{GRAPH_MAKER}"]
    run = subprocess.run([*command, str(folder), str(target), precision], capture_output=True, text=True)
    if run.returncode == 0:
        return
    try:
        answer = json.loads(run.stdout.strip().splitlines()[-1])
        kind, text = answer["kind"], answer["error"]
    except (IndexError, ValueError, KeyError, TypeError):
        lines = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        raise GraphError(f"the graph of {folder.name} could not be made: {lines[-1]}") from None
    raise {"BundleError": BundleError, "FileNotFoundError": FileNotFoundError}.get(kind, GraphError)(text)
