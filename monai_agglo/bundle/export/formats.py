"""The forms that a segmenter's network is exported to: how each is written, and how it is run again."""

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

from monai_agglo.prediction.runtimes.graphs import OPSET, quiet

__all__ = ["FORMATS", "ExportFormat"]

Run = Callable[[np.ndarray], np.ndarray]
"""From a cine (B, 1, H, W, T) float32 to logits (B, S, H, W, T)."""


@dataclass(frozen=True)
class ExportFormat:
    """One form of the network.

    Args:
        files: names it is written under; the last one is what a program opens.
        needs: packages to write and to check it.
        write: writes the network into a folder.
        load: opens what was written.
        free_size: whether height and width are free (multiples of 32), as batch and frames are.
    """

    files: tuple[str, ...]
    needs: tuple[str, ...]
    write: Callable[[nn.Module, Path, dict[str, Any]], None]
    load: Callable[[Path], Run]
    free_size: bool = True


@contextmanager
def silence():
    """Exporters warn about their own future and about every shape that they follow."""
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
    import onnx

    axes = {0: "batch", 2: "height", 3: "width", 4: "frames"}
    path = folder / "model.onnx"
    with silence(), torch.no_grad():
        torch.onnx.export(
            network, (_example(network),), str(path), dynamo=False, opset_version=OPSET,
            input_names=["image"], output_names=["pred"], dynamic_axes={"image": axes, "pred": axes},
        )  # fmt: skip
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"metadata": json.dumps(metadata)})
    onnx.save(model, str(path))


def onnx_run(path: Path) -> Run:
    """Open an ONNX file of cines."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda cine: session.run(None, {"image": cine})[0]


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

    if not (folder / "model.onnx").is_file():
        _write_onnx(network, folder, metadata)
    openvino.save_model(openvino.convert_model(str(folder / "model.onnx")), str(folder / "model.xml"), False)


def _load_openvino(folder: Path) -> Run:
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(str(folder / "model.xml")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda cine: np.array(model.create_infer_request().infer({0: cine})[0])


FORMATS: dict[str, ExportFormat] = {
    "ts": ExportFormat(("model.ts",), (), _write_ts, _load_ts),
    "onnx": ExportFormat(
        ("model.onnx",), ("onnx", "onnxruntime"), _write_onnx, lambda folder: onnx_run(folder / "model.onnx")
    ),
    "pt2": ExportFormat(("model.pt2",), (), _write_pt2, _load_pt2, free_size=False),
    "openvino": ExportFormat(
        ("model.bin", "model.xml"), ("onnx", "onnxruntime", "openvino"), _write_openvino, _load_openvino
    ),
}
"""By the name that the command takes."""


def publish_files(folder: Path, names: tuple[str, ...], target: Path) -> list[Path]:
    """Move finished files to where they belong, each by a rename, what a program opens last."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.replace(folder / name, target / name)
    return [target / name for name in names]
