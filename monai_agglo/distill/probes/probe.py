"""Few-shot segmentation probes: what an encoder is worth when there are few masks.

A probe is a light decoder trained on the encoder's map, the encoder frozen (its maps are computed once) or trained
along. Which images, which first weights and which batches depend on the seed, the task and the number of images alone,
so that probes of two encoders differ in nothing but the encoder.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from monai_agglo.metrics import dice_per_frame

from .probe_training import FrozenProbe, ProbeSettings, TunedProbe, scaled, train_probe
from .tasks import Task

__all__ = ["ProbeMemory", "ProbeSettings", "encode", "image_dice", "probe", "support"]

MODES = ("frozen", "tuned")


@dataclass
class ProbeMemory:
    """What probes of one encoder on one task share, kept by the caller between them and filled by them.

    Attributes:
        maps: frozen maps, by part.
        models: trained probes, by mode, training images, seed and settings: for another part none is trained again.
    """

    maps: dict[str, torch.Tensor] = field(default_factory=dict)
    models: dict[tuple[str, int, int, ProbeSettings], nn.Module] = field(default_factory=dict)


def support(task: Task, shots: int, seed: int) -> list[int]:
    """Training images of a few-shot setting: patients in random order, one image of each in turn.

    Args:
        task: the task.
        shots: images; 0 for all.
        seed: of the choice.

    Returns:
        Sorted positions of images.
    """
    pool = task.indices("train")
    if not shots or shots >= len(pool):
        return pool
    rng = _numpy_generator(seed, task.name, shots)
    by_source: dict[str, list[int]] = {}
    for index in rng.permutation(pool).tolist():
        by_source.setdefault(task.sources[index], []).append(index)
    turns = sorted((turn, place, own[turn]) for place, own in enumerate(by_source.values()) for turn in range(len(own)))
    return sorted(index for _, _, index in turns[:shots])


def probe(
    encoder: nn.Module,
    task: Task,
    part: str,
    mode: str,
    shots: int,
    seed: int,
    settings: ProbeSettings,
    device: torch.device | str = "cpu",
    memory: ProbeMemory | None = None,
) -> dict[str, Any]:
    """Train a probe and score it.

    Args:
        encoder: (B, 1, H, W) in [0, 1] to (B, C, h, w); never changed.
        task: with masks.
        part: ``val`` or ``test``.
        mode: ``frozen`` or ``tuned``.
        shots: training images; 0 for all.
        seed: see the module's docstring.
        settings: of the training.
        device: where to compute.
        memory: of one encoder and task; nothing is kept when None.

    Returns:
        ``dice`` per image (mean over the structures that are present, None without any), ``sources`` of the images,
        ``structures`` (mean Dice of each), ``images`` trained on, ``seconds``.

    Raises:
        ValueError: for an unknown mode or part.
    """
    if mode not in MODES or part not in ("val", "test"):
        raise ValueError(f"a probe is {' or '.join(MODES)}, on val or test, not {mode!r} on {part!r}")
    began = time.perf_counter()
    memory = memory or ProbeMemory()
    chosen, scored = support(task, shots, seed), task.indices(part)
    size = task.masks.shape[-1]
    if mode == "frozen":
        for own, indices in (("train", task.indices("train")), (part, scored)):
            if own not in memory.maps:
                memory.maps[own] = encode(encoder, _tensor(task.student_frames(indices, size)), device)
        where = {index: place for place, index in enumerate(task.indices("train"))}
        inputs, tests = memory.maps["train"][[where[index] for index in chosen]], memory.maps[part]
    else:
        inputs, tests = (_tensor(task.student_frames(indices, size)) for indices in (chosen, scored))
    key = (mode, shots, seed, settings)
    if key not in memory.models:
        generator = torch.Generator().manual_seed(_number(seed, task.name, shots, mode))
        masks = torch.from_numpy(task.masks[chosen])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_number(seed, task.name, "decoder"))
            model: FrozenProbe | TunedProbe
            if mode == "frozen":
                model = FrozenProbe(inputs, len(task.structures), settings)
            else:
                model = TunedProbe(copy.deepcopy(encoder), task.structures, settings)
            train_probe(model, inputs, masks, mode, settings, generator, torch.device(device))
        memory.models[key] = model
    dice = image_dice(memory.models[key], tests, task.masks[scored], device)
    return {
        "dice": [None if math.isnan(x) else round(float(x), 5) for x in _nanmean(dice, 1)],
        "sources": [task.sources[index] for index in scored],
        "structures": [None if math.isnan(x) else round(float(x), 5) for x in _nanmean(dice, 0)],
        "images": len(chosen),
        "seconds": round(time.perf_counter() - began, 2),
    }


@torch.no_grad()
def encode(encoder: nn.Module, frames: torch.Tensor, device: torch.device | str = "cpu") -> torch.Tensor:
    """Maps of a frozen encoder.

    Args:
        encoder: put into eval mode, and back.
        frames: uint8 (N, 1, H, W).
        device: where to compute.

    Returns:
        (N, C, h, w) float32 on the CPU.
    """
    was = encoder.training
    encoder.eval().to(device)
    maps = [encoder(scaled(frames[i : i + 16], device)).float().cpu() for i in range(0, len(frames), 16)]
    encoder.train(was)
    return torch.cat(maps)


@torch.no_grad()
def image_dice(
    model: nn.Module, inputs: torch.Tensor, masks: np.ndarray, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Dice of every image and structure.

    Args:
        model: maps or frames to logits of any size.
        inputs: (N, ...).
        masks: (N, S, H, W) of 0 and 1.
        device: where to compute.

    Returns:
        (N, S); NaN where the structure is absent.
    """
    model.eval()
    rows = []
    for start in range(0, len(inputs), 16):
        truth = masks[start : start + 16]
        logits = model(inputs[start : start + 16].to(device))
        logits = F.interpolate(logits.float(), size=truth.shape[-2:], mode="bilinear", align_corners=False)
        found = (logits > 0).cpu().numpy()
        rows.append(dice_per_frame(np.moveaxis(found, 0, -1), np.moveaxis(truth, 0, -1)).T)
    return np.concatenate(rows)


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames)[:, None]


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def _number(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:7], "big")


def _numpy_generator(*parts: Any) -> np.random.Generator:
    return np.random.default_rng(_number(*parts))
