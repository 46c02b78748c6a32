"""Export formats: how each is written and run."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from monai_agglo.prediction.runtimes.graphs import INFO

from .onnx_file import OPSET, quiet, set_properties, write_graph

__all__ = ["FORMATS", "ExportFormat"]

Run = Callable[[np.ndarray], np.ndarray]
"""From a cine (B, 1, H, W, T) float32 to logits (B, S, H, W, T), or to the coarse logits of its B * T frames."""


@dataclass(frozen=True)
class ExportFormat:
    """One export format.

    Args:
        files: names it is written under; the last one is what a program opens.
        needs: packages to write and to check it.
        write: writes the network into a folder.
        load: opens what was written.
        free_size: whether height and width are free (multiples of 32), as batch and frames are.
        coarse: whether it gives the coarse logits of frames, see :class:`~.onnx_file.FrameNetwork`.
    """

    files: tuple[str, ...]
    needs: tuple[str, ...]
    write: Callable[[nn.Module, Path, dict[str, Any]], None]
    load: Callable[[Path], Run]
    free_size: bool = True
    coarse: bool = False


@contextmanager
def silence():
    """Silence the exporters' deprecation and tracing warnings."""
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        yield


def _example(network: nn.Module, side: int = 96) -> torch.Tensor:
    return torch.rand(2, 1, side, side + 32, 3, generator=torch.Generator().manual_seed(0))


def _write_ts(network: nn.Module, folder: Path, metadata: dict[str, Any]) -> None:
    from monai.data import save_net_with_metadata

    with silence():  # scripted: any size, and what is no multiple of 32 is padded inside
        save_net_with_metadata(torch.jit.script(network), str(folder / "model.ts"), meta_values=metadata)


def _load_ts(folder: Path) -> Run:
    with silence():
        module = torch.jit.load(str(folder / "model.ts"), map_location="cpu").eval()
    return _torch_run(module)


def _torch_run(module: Any) -> Run:
    def run(cine: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(cine)).numpy()

    return run


def _write_onnx(network: nn.Module, folder: Path, metadata: dict[str, Any]) -> None:
    metadata = dict(metadata)
    info = metadata.pop(INFO, {})
    write_graph(network, folder / "model.onnx", {INFO: info, "metadata": metadata})


def _load_onnx(folder: Path) -> Run:
    run = _onnx_session(folder / "model.onnx")

    def frames_of(cine: np.ndarray) -> np.ndarray:
        frames = cine.transpose(0, 4, 1, 2, 3).reshape(-1, 1, *cine.shape[2:4])
        return run(np.ascontiguousarray(frames))

    return frames_of


def _write_onnx_cine(network: nn.Module, folder: Path, metadata: dict[str, Any]) -> None:
    axes = {0: "batch", 2: "height", 3: "width", 4: "frames"}
    path = folder / "model_cine.onnx"
    with silence(), torch.no_grad():
        torch.onnx.export(
            network, (_example(network),), str(path), dynamo=False, opset_version=OPSET,
            input_names=["image"], output_names=["pred"], dynamic_axes={"image": axes, "pred": axes},
        )  # fmt: skip
    set_properties(path, {"metadata": metadata})


def _onnx_session(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The only output of an ONNX file as a function of its only input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0].name
    return lambda array: session.run(None, {entry: array})[0]


def _write_pt2(network: nn.Module, folder: Path, metadata: dict[str, Any]) -> None:
    frames = torch.export.Dim("frames", min=1, max=4096)
    batch = torch.export.Dim("batch", min=1, max=64)
    side = int(metadata.get("image_size", 512))
    image = torch.rand(2, 1, side, side, 3, generator=torch.Generator().manual_seed(0))
    with silence():
        program = torch.export.export(network, (image,), dynamic_shapes=({0: batch, 4: frames},), strict=False)
        torch.export.save(program, str(folder / "model.pt2"), extra_files={"metadata.json": json.dumps(metadata)})


def _load_pt2(folder: Path) -> Run:
    with silence():
        return _torch_run(torch.export.load(str(folder / "model.pt2")).module())


def _write_openvino(network: nn.Module, folder: Path, metadata: dict[str, Any]) -> None:
    import openvino

    if not (folder / "model_cine.onnx").is_file():
        _write_onnx_cine(network, folder, metadata)
    openvino.save_model(openvino.convert_model(str(folder / "model_cine.onnx")), str(folder / "model.xml"), False)


def _load_openvino(folder: Path) -> Run:
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(str(folder / "model.xml")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda cine: np.array(model.create_infer_request().infer({0: cine})[0])


FORMATS: dict[str, ExportFormat] = {
    "ts": ExportFormat(("model.ts",), (), _write_ts, _load_ts),
    "onnx": ExportFormat(("model.onnx",), ("onnx", "onnxruntime"), _write_onnx, _load_onnx, coarse=True),
    "onnx_cine": ExportFormat(
        ("model_cine.onnx",),
        ("onnx", "onnxruntime"),
        _write_onnx_cine,
        lambda folder: _onnx_session(folder / "model_cine.onnx"),
    ),
    "pt2": ExportFormat(("model.pt2",), (), _write_pt2, _load_pt2, free_size=False),
    "openvino": ExportFormat(
        ("model.bin", "model.xml"), ("onnx", "onnxruntime", "openvino"), _write_openvino, _load_openvino
    ),
}
"""By the name that the command takes."""


def publish_files(folder: Path, names: tuple[str, ...], target: Path) -> list[Path]:
    """Move finished files into place by renames; the file that programs open comes last."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.replace(folder / name, target / name)
    return [target / name for name in names]
