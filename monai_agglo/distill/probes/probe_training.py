"""Networks of probes and their training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from monai_agglo.losses import StructureLoss
from monai_agglo.networks import LightDecoder
from monai_agglo.networks.light_encoder import parameter_groups

from .captured_step import CapturedStep

__all__ = ["FrozenProbe", "ProbeSettings", "TunedProbe", "scaled", "train_probe"]


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


class FrozenProbe(nn.Module):
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


class TunedProbe(nn.Module):
    """Encoder and decoder."""

    def __init__(self, encoder: nn.Module, structures: Sequence[str], settings: ProbeSettings) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(True)
        with torch.no_grad():
            channels = encoder.eval()(torch.zeros(1, 1, 64, 64, device=next(encoder.parameters()).device)).shape[1]
        self.decoder = LightDecoder(channels, len(structures), settings.channels, settings.blocks)
        self.to(memory_format=torch.channels_last)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        features = self.encoder(scaled(frames, frames.device))
        return self.decoder(features, 2 * features.shape[2], 2 * features.shape[3])


def _start_at_share(decoder: LightDecoder, masks: torch.Tensor) -> None:
    """Let the decoder begin with the share of each structure in the training masks: the first steps are not lost."""
    share = masks.float().mean((0, 2, 3)).clamp(1e-3, 1 - 1e-3)
    with torch.no_grad():
        decoder.head.bias.copy_(torch.logit(share).repeat_interleave(4))


def train_probe(
    model: FrozenProbe | TunedProbe,
    inputs: torch.Tensor,
    masks: torch.Tensor,
    mode: str,
    settings: ProbeSettings,
    generator: torch.Generator,
    device: torch.device,
) -> None:
    """AdamW with a warm-up and a cosine to zero; frames trained through are shifted and their contrast changed.

    Args:
        model: moved to the device and trained there.
        inputs: (N, C, h, w) maps of a frozen encoder, or (N, 1, H, W) uint8 frames.
        masks: (N, S, H, W) of 0 and 1.
        mode: ``frozen`` or ``tuned``.
        settings: steps and rates.
        generator: of the batches and changes.
        device: where to compute.
    """
    _start_at_share(model.decoder, masks)
    model.to(device)
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


def scaled(frames: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    return frames.to(device).float() / 255
