"""Post-training static int8 quantisation of a graph's convolutions."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.files import atomic_path
from monai_agglo.prediction.errors import GraphError
from monai_agglo.prediction.runtimes.frame_runtime import padded
from monai_agglo.prediction.runtimes.graphs import BundleNetwork

from .onnx_file import quiet, set_properties

__all__ = ["quantise_bundle", "quantise_graph"]

KEPT = 4
"""The first and the last convolutions stay in float: errors of theirs reach every pixel."""


def quantise_graph(source: str | os.PathLike, target: str | os.PathLike, frames: Iterable[np.ndarray]) -> Path:
    """Quantise a graph: weights per channel, activations by their range over the given frames.

    Weights have seven bits: with eight, sums of two products overflow in the instructions of processors without VNNI.
    What goes into a matrix product and what comes out stays in float (linear attention divides by a sum that may be
    small), and so do the outputs of convolutions, which are rounded once, where the next one takes them in.

    Args:
        source: an ONNX graph in floats whose only input are images.
        target: the ONNX file to write; it appears when it is whole.
        frames: (H, W) float32 within 0..1, prepared as the network sees them, at least one; sizes may differ.

    Returns:
        ``target``.

    Raises:
        GraphError: when there is no frame, or a package is missing or cannot do it.
    """
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise GraphError(f"int8 needs {error.name}: pip install onnx onnxruntime") from None
    graph = onnx.load(str(source)).graph
    entry = graph.input[0]
    rank = len(entry.type.tensor_type.shape.dim)
    feeds = iter([_feed(frame, rank) for frame in frames])

    class Reader(CalibrationDataReader):
        count = 0

        def get_next(self):
            image = next(feeds, None)
            self.count += image is not None
            return None if image is None else {entry.name: image}

    target, reader = Path(target), Reader()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            atomic_path(target) as partial,
            warnings.catch_warnings(),
            quiet(),
        ):
            warnings.simplefilter("ignore")
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            nodes = onnx.load(str(prepared)).graph.node
            convolutions = [node.name for node in nodes if node.op_type == "Conv"]
            quantize_static(
                str(prepared),
                str(partial),
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=True,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=[*convolutions[:KEPT], *convolutions[-KEPT:], *_beside_products(nodes)],
                extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
            )
    except Exception as error:
        missing = "there is no frame to calibrate with" if not reader.count else f"{type(error).__name__}: {error}"
        raise GraphError(f"the graph cannot be quantised ({missing})") from error
    return target


def quantise_bundle(source: BundleNetwork, target: Path, properties: dict[str, Any]) -> None:
    """Quantise the network of a bundle, calibrated with frames of phantoms.

    Args:
        source: the bundle's network.
        target: the ONNX file to write.
        properties: of the file, JSON-able.

    Raises:
        GraphError: the graph cannot be made or quantised.
    """
    from monai_agglo.prediction.segmenter import Segmenter

    from .calibration import phantom_frames

    segmenter = Segmenter(source.folder, "cpu", runtime="onnxruntime")
    frames = [segmenter.prepare([frame], segmenter.intensity_range([frame]))[0, 0] for frame in phantom_frames()]
    with atomic_path(target) as partial:
        quantise_graph(source.graph()[0], partial, frames)
        set_properties(partial, properties)


def _beside_products(nodes: Iterable[Any]) -> list[str]:
    """Convolutions whose output reaches a matrix product, or that take one in, with no other convolution between."""
    nodes = list(nodes)
    makers = {name: [node] for node in nodes for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: set[str] = set()
    for ends, neighbours in (("input", makers), ("output", readers)):
        todo, seen = [node for node in nodes if node.op_type == "MatMul"], set()
        while todo:
            node = todo.pop()
            for name in getattr(node, ends):
                for other in neighbours.get(name, []):
                    if other.op_type == "Conv":
                        found.add(other.name)
                    elif other.output[0] not in seen:
                        seen.add(other.output[0])
                        todo.append(other)
    return sorted(found)


def _feed(frame: np.ndarray, rank: int) -> np.ndarray:
    """A frame as the graph's input: (1, 1, H, W), or (1, 1, H, W, 1) for a graph of cines."""
    image = padded(np.asarray(frame, np.float32)[None, None], 32)
    return image if rank == 4 else image[..., None]
