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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from monai_agglo.losses import StructureLoss
from monai_agglo.metrics import dice_per_frame
from monai_agglo.networks import LightDecoder
from monai_agglo.networks.light_encoder import parameter_groups

from .captured_step import CapturedStep
from .tasks import Task

__all__ = ["ProbeSettings", "encode", "image_dice", "probe", "support"]

MODES = ("frozen", "tuned")


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are trained; the same for all encoders.

    Attributes:
        steps: of the optimiser, frozen.
        tuned_steps: of the optimiser, the encoder trained along.
        batch: images per step.
        lr: largest learning rate, frozen.
        tuned_lr: largest learning rate of encoder and decoder, trained along.
        channels: inside the decoder.
        blocks: separable convolutions of the decoder; 0 is a linear probe.
    """

    steps: int = 200
    tuned_steps: int = 100
    batch: int = 8
    lr: float = 4e-3
    tuned_lr: float = 1e-3
    channels: int = 48
    blocks: int = 1


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
    maps: dict[str, torch.Tensor] | None = None,
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
        maps: frozen maps of the parts, kept by the caller between probes of one encoder and task; filled here.

    Returns:
        ``dice`` per image (mean over the structures that are present, None without any), ``sources`` of the images,
        ``structures`` (mean Dice of each), ``images`` trained on, ``seconds``.

    Raises:
        ValueError: for an unknown mode or part.
    """
    if mode not in MODES or part not in ("val", "test"):
        raise ValueError(f"a probe is {' or '.join(MODES)}, on val or test, not {mode!r} on {part!r}")
    began = time.perf_counter()
    chosen, scored = support(task, shots, seed), task.indices(part)
    generator = torch.Generator().manual_seed(_number(seed, task.name, shots, mode))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_number(seed, task.name, "decoder"))
        size = task.masks.shape[-1]
        if mode == "frozen":
            maps = {} if maps is None else maps
            for own, indices in (("train", task.indices("train")), (part, scored)):
                if own not in maps:
                    maps[own] = encode(encoder, _tensor(task.student_frames(indices, size)), device)
            where = {index: place for place, index in enumerate(task.indices("train"))}
            features = maps["train"][[where[index] for index in chosen]]
            model: _FrozenProbe | _TunedProbe = _FrozenProbe(features, len(task.structures), settings)
            inputs, tests = features, maps[part]
        else:
            model = _TunedProbe(copy.deepcopy(encoder), task.structures, settings)
            inputs = _tensor(task.student_frames(chosen, size))
            tests = _tensor(task.student_frames(scored, size))
        masks = torch.from_numpy(task.masks[chosen])
        _start_at_share(model.decoder, masks)
        model.to(device)
        _train(model, inputs, masks, mode, settings, generator, torch.device(device))
        dice = image_dice(model, tests, task.masks[scored], device)
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
    maps = [encoder(_scaled(frames[i : i + 16], device)).float().cpu() for i in range(0, len(frames), 16)]
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


class _FrozenProbe(nn.Module):
    """A decoder on maps whose channels are standardised as the training maps are."""

    def __init__(self, features: torch.Tensor, structures: int, settings: ProbeSettings) -> None:
        super().__init__()
        spread, mean = torch.std_mean(features, dim=(0, 2, 3), keepdim=True)
        # A channel that is constant over the training maps says nothing: it must not be blown up elsewhere.
        useful = spread > 1e-6 * spread.max().clamp(min=1e-12)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.where(useful, 1 / spread.clamp(min=1e-12), torch.zeros_like(spread)))
        self.decoder = LightDecoder(features.shape[1], structures, settings.channels, settings.blocks)
        self.to(memory_format=torch.channels_last)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scaled = ((features - self.mean) * self.scale).contiguous(memory_format=torch.channels_last)
        return self.decoder(scaled, 2 * features.shape[2], 2 * features.shape[3])


class _TunedProbe(nn.Module):
    """Encoder and decoder."""

    def __init__(self, encoder: nn.Module, structures: Sequence[str], settings: ProbeSettings) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(True)
        with torch.no_grad():
            channels = encoder.eval()(torch.zeros(1, 1, 64, 64, device=next(encoder.parameters()).device)).shape[1]
        self.decoder = LightDecoder(channels, len(structures), settings.channels, settings.blocks)
        self.to(memory_format=torch.channels_last)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        features = self.encoder(_scaled(frames, frames.device))
        return self.decoder(features, 2 * features.shape[2], 2 * features.shape[3])


def _start_at_share(decoder: LightDecoder, masks: torch.Tensor) -> None:
    """Let the decoder begin with the share of each structure in the training masks: the first steps are not lost."""
    share = masks.float().mean((0, 2, 3)).clamp(1e-3, 1 - 1e-3)
    with torch.no_grad():
        decoder.head.bias.copy_(torch.logit(share).repeat_interleave(4))


def _train(
    model: nn.Module,
    inputs: torch.Tensor,
    masks: torch.Tensor,
    mode: str,
    settings: ProbeSettings,
    generator: torch.Generator,
    device: torch.device,
) -> None:
    """AdamW with a warm-up and a cosine to zero; frames trained through are shifted and their contrast changed."""
    steps, lr = (settings.steps, settings.lr) if mode == "frozen" else (settings.tuned_steps, settings.tuned_lr)
    captured = device.type == "cuda"
    optimizer = torch.optim.AdamW(
        parameter_groups(model, 0.01), lr=torch.tensor(lr, device=device) if captured else lr, capturable=captured
    )
    warm = max(1, steps // 10)
    loss_of = StructureLoss()

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        loss_of(model(x)[..., None], y[..., None]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    make_step = CapturedStep(step, lambda: optimizer.zero_grad(set_to_none=True), device)
    batch = min(settings.batch, len(inputs))
    order = torch.empty(0, dtype=torch.long)
    model.train()
    inputs, masks = inputs.to(device), masks.to(device)  # once: a few hundred small pictures or maps
    for number in range(steps):
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(len(inputs), generator=generator)])
        chosen, order = order[:batch], order[batch:]
        x, y = inputs[chosen], masks[chosen]
        if mode == "tuned":
            x, y = _shift_and_contrast(x, y, generator)
        _set_rate(optimizer, lr * min((number + 1) / warm, 0.5 * (1 + math.cos(math.pi * number / steps))))
        make_step(x, y)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Learning rate of all groups, in place where it is a tensor that a graph reads."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _shift_and_contrast(
    frames: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """One shift of up to a sixteenth of the side for the batch; contrast and brightness for every image."""
    most = frames.shape[-1] // 16
    shift = (torch.randint(-most, most + 1, (2,), generator=generator)).tolist()
    gain = 0.75 + 0.5 * torch.rand(len(frames), 1, 1, 1, generator=generator).to(frames.device)
    lift = 50 * (torch.rand(len(frames), 1, 1, 1, generator=generator) - 0.5).to(frames.device)
    changed = (frames.float() * gain + lift).clamp(0, 255)
    return _shifted(changed, shift), _shifted(masks, shift)


def _shifted(pictures: torch.Tensor, shift: Sequence[int]) -> torch.Tensor:
    """Move by (rows, columns); what comes in is zero."""
    rows, columns = shift
    high, wide = pictures.shape[-2:]
    moved = torch.zeros_like(pictures)
    moved[..., max(0, rows) : high + min(0, rows), max(0, columns) : wide + min(0, columns)] = pictures[
        ..., max(0, -rows) : high + min(0, -rows), max(0, -columns) : wide + min(0, -columns)
    ]
    return moved


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames)[:, None]


def _scaled(frames: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    return frames.to(device).float() / 255


def _nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def _number(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:7], "big")


def _numpy_generator(*parts: Any) -> np.random.Generator:
    return np.random.default_rng(_number(*parts))
