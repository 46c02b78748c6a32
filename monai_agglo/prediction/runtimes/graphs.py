"""The network of a bundle as an ONNX graph: the shipped file, or one made once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from monai_agglo import __version__
from monai_agglo.files import sha256
from monai_agglo.prediction import bridge
from monai_agglo.prediction.errors import BundleError, GraphError
from monai_agglo.prediction.settings import SegmenterSettings

from .frame_runtime import NetworkFacts

__all__ = ["GRAPHS", "BundleNetwork", "cache_folder", "read_graph_info"]

GRAPHS = {"fp32": "model.onnx", "int8": "model_int8.onnx"}
"""File in a bundle's ``models`` folder, by precision."""
INFO = "segmenter"
"""Key of our facts among the properties of an ONNX file."""
VERSION = 2
"""Of the graphs in the cache: counted up when the same weights give another graph."""
Log = Callable[[str], None]


def cache_folder() -> Path:
    """Folder of graphs: ``MONAI_AGGLO_CACHE``, else ``monai_agglo/graphs`` in the user's cache."""
    if os.environ.get("MONAI_AGGLO_CACHE"):
        return Path(os.environ["MONAI_AGGLO_CACHE"]).expanduser() / "graphs"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai_agglo" / "graphs"


def read_graph_info(path: Path) -> dict[str, Any]:
    """Facts that the export wrote into a graph.

    Args:
        path: the ONNX file.

    Returns:
        ``weights_sha256``, ``network`` (its definition as JSON), ``multiple``, ``mixes``, ``causal``; empty for a file
        that has none.

    Raises:
        GraphError: the file is not a readable ONNX graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return dict(json.loads(session.get_modelmeta().custom_metadata_map.get(INFO, "{}")))
    except Exception as error:  # ONNX Runtime has its own kinds
        raise GraphError(f"{path.name} is not a readable ONNX graph ({type(error).__name__})") from error


class BundleNetwork:
    """The network of a bundle: a graph for the engines, or a PyTorch module.

    Args:
        folder: of the bundle.
        settings: of its segmenter.

    Raises:
        FileNotFoundError: the bundle has no ``models/model.pt``.
    """

    def __init__(self, folder: Path, settings: SegmenterSettings) -> None:
        self.folder, self.settings = folder, settings
        self.weights = folder / "models" / "model.pt"
        if not self.weights.is_file():
            raise FileNotFoundError(f"{folder.name}: the bundle has no weights (models/model.pt); train it first")

    @property
    def title(self) -> str:
        """Class of the network."""
        return str(self.settings.network_def["_target_"]).rpartition(".")[2]

    @property
    def has_graph(self) -> bool:
        """Whether the network can be written as a graph."""
        return self.title == "CineSegmenter"

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights."""
        return sha256(self.weights)

    def module(self, device: str) -> Any:
        """The network in PyTorch, on a device, in evaluation mode."""
        return bridge.load_network(self.folder, device)

    def graph(self, precision: str = "fp32", log: Log | None = None) -> tuple[Path, NetworkFacts]:
        """The graph: the bundle's own, or one from the cache, made there when missing.

        Args:
            precision: ``fp32`` or ``int8``.
            log: called with a line before a graph is made, which takes seconds.

        Returns:
            The ONNX file, and facts of its network.

        Raises:
            BundleError: the bundle's own graph does not belong to its weights, its network or its metadata.
            GraphError: no graph can be made.
            ImportError: one has to be made, and PyTorch is not installed.
        """
        shipped = self.folder / "models" / GRAPHS[precision]
        if shipped.is_file():
            return shipped, self._checked(shipped)
        path = self.cached(precision)
        if not path.is_file():
            if log is not None:
                log(f"{self.folder.name} has no models/{shipped.name}: making it once, kept in the cache")
            bridge.make_graph(self.folder, path, precision)
        try:
            return path, self._checked(path, shipped=False)
        except (GraphError, BundleError):  # damaged: made anew, once
            path.unlink(missing_ok=True)
            bridge.make_graph(self.folder, path, precision)
            return path, self._checked(path, shipped=False)

    def cached(self, precision: str) -> Path:
        """Place of the graph in the cache: it changes with weights, network and software."""
        text = f"{__version__} {VERSION} {precision} {self.weights_sha256} {self.settings.network_text}"
        return cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}-{precision}.onnx"

    def _checked(self, path: Path, shipped: bool = True) -> NetworkFacts:
        where = f"{self.folder.name}: models/{path.name}"
        mend = f"run python -m monai_agglo export {self.folder}, or delete it"
        if shipped and sha256(path) != self._published(path.name):
            raise BundleError(f"{where} is not the file named in configs/metadata.json (SHA-256 differs): {mend}")
        info = read_graph_info(path)
        if info.get("weights_sha256") != self.weights_sha256:
            raise BundleError(f"{where} was made from other weights than models/model.pt: {mend}")
        if info.get("network") != self.settings.network_text:
            raise BundleError(f"{where} was made from another network_def than that of inference.json: {mend}")
        return NetworkFacts(int(info["multiple"]), bool(info["mixes"]), bool(info["causal"]))

    def _published(self, name: str) -> str | None:
        metadata = json.loads((self.folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        return (metadata.get("graph_sha256") or {}).get(name)
