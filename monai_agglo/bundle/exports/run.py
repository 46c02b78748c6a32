"""Export of a segmenter's network, each format compared with PyTorch before it is kept."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.files import atomic_path, sha256
from monai_agglo.prediction.runtimes.graphs import GRAPHS, INFO
from monai_agglo.prediction.runtimes.onnx_runtime import OnnxRuntime
from monai_agglo.prediction.segmenter import Segmenter

from .calibration import HELD_OUT, labelled_frames, phantom_frames, real_frames
from .formats import FORMATS, publish_files
from .onnx_file import graph_info, set_properties
from .quantise import quantise_graph

__all__ = ["Exported", "ParityError", "export"]

CLOSE = 1e-3
"""Largest difference of a logit from PyTorch's."""
SAME_MASKS = 1e-3
"""Largest fraction of the pixels of a mask channel's frame that may differ, over all frames of the check."""
DICE_LOSS = 0.003
"""Largest loss of mean Dice of the int8 network on held-out phantoms, as a fraction."""


class ParityError(ValueError):
    """An exported network that differs from the original."""


@dataclass(frozen=True)
class Exported:
    """An exported file and the figures of its check.

    Args:
        name: of the format.
        files: where it lies.
        facts: of the check: ``logit_difference`` and ``mask_difference`` (largest difference from PyTorch, and fraction
            of pixels), or for int8 ``dice_fp32``, ``dice_int8`` and the frames used.
    """

    name: str
    files: list[Path]
    facts: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        facts = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in self.facts.items())
        return f"{self.files[-1]}: {facts}"


def export(
    bundle: str | os.PathLike | None = None,
    formats: Sequence[str] = ("ts", "onnx"),
    int8: bool = False,
    output: str | os.PathLike | None = None,
    patients: int = 20,
    log: Callable[[str], None] | None = None,
) -> list[Exported]:
    """Write the network of a bundle as TorchScript, ONNX, torch.export program or OpenVINO model.

    ``onnx`` is the graph that ``predict`` runs: ``frames`` (N, 1, H, W) to ``logits`` (N, 4 * 12, H / 4, W / 4), see
    :mod:`.onnx_file`. Its SHA-256 goes into ``configs/metadata.json``; ``predict`` refuses another file.
    The other forms take ``image`` (B, 1, H, W, T) and give ``pred``, logits (B, 12, H, W, T), as in PyTorch. Batch and
    frames are free in every form, height and width too (multiples of 32) except in ``pt2``, which has the bundle's own
    size. Every file is compared with PyTorch on frames of phantoms before it takes its place.

    Args:
        bundle: bundle folder or name; ``vfss_seg`` when None.
        formats: of ``ts``, ``onnx``, ``onnx_cine``, ``pt2``, ``openvino``.
        int8: also quantise the ONNX form (``model_int8.onnx``), calibrated with phantoms and, where the folder that
            ``AGGLO_SHARED`` names holds some, real stills; compared by Dice on phantoms of other patients.
        output: folder to write to; the bundle's ``models`` when None.
        patients: held-out phantoms, two frames each, that int8 is compared on.
        log: called with a line per step.

    Returns:
        What was written.

    Raises:
        ValueError: for an unknown format, or a network that has no such forms.
        ImportError: when a package that a format needs is not installed.
        ParityError: when a form does not agree with PyTorch; its file is not left there.
    """
    wanted = list(dict.fromkeys(formats))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not (wanted or int8):
        raise ValueError(f"formats are {', '.join(FORMATS)}, not {', '.join(unknown) or 'none'}")
    for name in [*wanted, *(["onnx"] if int8 else [])]:
        missing = [package for package in FORMATS[name].needs if importlib.util.find_spec(package) is None]
        if missing:
            raise ImportError(f"the format {name} needs what is not installed: pip install {' '.join(missing)}")
    segmenter = Segmenter(bundle, "cpu", runtime="torch")
    target = Path(output) if output is not None else segmenter.folder / "models"
    target.mkdir(parents=True, exist_ok=True)
    metadata = {**segmenter.metadata, "weights_sha256": segmenter.identity()["weights_sha256"]}
    metadata.pop("graph_sha256", None)
    metadata |= {"image_size": segmenter.size, INFO: graph_info(segmenter.network, segmenter.source)}
    cines = list(_cines(segmenter))
    done = []
    # beside the target: the last step is a rename within one file system
    folder = Path(tempfile.mkdtemp(prefix=".export.", suffix=".part", dir=target))
    try:
        for name in wanted:
            _tell(log, f"writing {FORMATS[name].files[-1]}")
            FORMATS[name].write(segmenter.network, folder, metadata)
            facts = _agree(name, segmenter, folder, cines)
            kept = Path(tempfile.mkdtemp(dir=folder))
            for file in FORMATS[name].files:  # openvino is made from onnx: a copy moves, the original stays
                shutil.copy2(folder / file, kept / file)
            done.append(Exported(name, publish_files(kept, FORMATS[name].files, target), facts))
        if int8:
            _tell(log, f"quantising {GRAPHS['int8']}")
            if not (folder / "model.onnx").is_file():
                FORMATS["onnx"].write(segmenter.network, folder, metadata)
            done.append(_int8(segmenter, folder, target, patients, metadata))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if target.resolve() == (segmenter.folder / "models").resolve():
        _publish_hashes(segmenter.folder)
    return done


def _publish_hashes(bundle: Path) -> None:
    """Write the SHA-256 of the bundle's graphs into its metadata: ``predict`` compares them on loading."""
    path = bundle / "configs" / "metadata.json"
    files = [bundle / "models" / name for name in GRAPHS.values()]
    hashes = {file.name: sha256(file) for file in files if file.is_file()}
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if hashes and metadata.get("graph_sha256") != hashes:
        with atomic_path(path) as partial:
            new = json.dumps({**metadata, "graph_sha256": hashes}, indent=4, ensure_ascii=False)
            partial.write_text(new + "\n", encoding="utf-8")


def _tell(log: Callable[[str], None] | None, text: str) -> None:
    if log is not None:
        log(text)


def _prepared(segmenter: Segmenter, frame: np.ndarray) -> np.ndarray:
    """A frame as the network takes it, (1, 1, H, W, 1) float32."""
    return segmenter.prepare([frame], segmenter.intensity_range([frame]))[..., None]


def _cines(segmenter: Segmenter) -> Iterator[np.ndarray]:
    """Phantom frames as the network takes them, in cines of several lengths: (1, 1, H, W, T)."""
    frames = [_prepared(segmenter, frame) for frame in phantom_frames(2, HELD_OUT)]
    yield np.concatenate(frames[:3], axis=-1)
    yield frames[3]


def _agree(name: str, segmenter: Segmenter, folder: Path, cines: Sequence[np.ndarray]) -> dict[str, float]:
    """Compare an exported format with PyTorch."""
    import torch

    try:
        run = FORMATS[name].load(folder)
        forward = segmenter.network.coarse if FORMATS[name].coarse else segmenter.network
        worst, differ, pixels = 0.0, 0, 0
        for cine in cines:
            pictures = [cine]
            if FORMATS[name].free_size:  # another size, and two cines at a time
                part = cine[:, :, : cine.shape[2] // 64 * 32, : cine.shape[3] // 96 * 32 or 32]
                pictures.append(np.concatenate([part, part[..., ::-1]]))
            for picture in map(np.ascontiguousarray, pictures):
                with torch.inference_mode():
                    expected = forward(torch.from_numpy(picture)).numpy()
                found = run(picture)
                if found.shape != expected.shape:
                    raise ParityError(f"it gives {found.shape} where {expected.shape} is right")
                worst = max(worst, float(np.abs(found - expected).max()))
                differ += int(((found > segmenter.cut) != (expected > segmenter.cut)).sum())
                pixels += expected.size
    except ParityError as error:
        raise ParityError(f"{FORMATS[name].files[-1]} does not agree with PyTorch ({error}); it was not kept") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ParityError(f"{FORMATS[name].files[-1]} cannot be run again ({reason}); it was not kept") from error
    if not worst < CLOSE or differ > SAME_MASKS * pixels:
        raise ParityError(
            f"{FORMATS[name].files[-1]} does not agree with PyTorch: logits differ by up to {worst:.2g}, masks in "
            f"{differ / pixels:.2%} of the pixels; it was not kept"
        )
    return {"logit_difference": worst, "mask_difference": differ / pixels}


def _int8(segmenter: Segmenter, folder: Path, target: Path, patients: int, metadata: dict[str, Any]) -> Exported:
    """Quantise ``folder/model.onnx`` and compare it by Dice with itself in floats."""
    frames = [_prepared(segmenter, frame)[0, 0, ..., 0] for frame in (*phantom_frames(), *real_frames())]
    name = GRAPHS["int8"]
    quantise_graph(folder / GRAPHS["fp32"], folder / name, frames)
    set_properties(folder / name, {INFO: metadata[INFO]})
    facts = segmenter.runtime.facts
    engines = {key: OnnxRuntime(folder / file, facts, key) for key, file in GRAPHS.items()}
    dice: dict[str, list[np.ndarray]] = {key: [] for key in engines}
    held_out = 0
    for frame, truth in labelled_frames(patients):
        held_out += 1
        for key, engine in engines.items():
            segmenter.runtime = engine
            (found,) = segmenter.segment_window([frame], segmenter.intensity_range([frame]))
            dice[key].append(_dice(found.masks, truth))
    mean = {key: float(np.nanmean(np.nanmean(rows, axis=0))) for key, rows in dice.items()}
    checked = {
        "dice_fp32": mean["fp32"], "dice_int8": mean["int8"], "dice_loss": mean["fp32"] - mean["int8"],
        "calibration_frames": len(frames), "held_out_frames": held_out,
    }  # fmt: skip
    if checked["dice_loss"] > DICE_LOSS:
        raise ParityError(
            f"{name} loses {checked['dice_loss']:.4f} of mean Dice on {patients} held-out phantoms "
            f"({mean['fp32']:.4f} to {mean['int8']:.4f}, at most {DICE_LOSS} is allowed); it was not kept"
        )
    return Exported("int8", publish_files(folder, (name,), target), checked)


def _dice(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice of each structure of a frame, NaN where it is absent from the truth."""
    both, sizes = (found & truth).sum((1, 2)), found.sum((1, 2)) + truth.sum((1, 2))
    return np.where(truth.any((1, 2)), 2 * both / np.maximum(sizes, 1), np.nan)
