"""Whole segmenters, frames of a cine to masks of twelve structures: ours, MONAI's, nnU-Net's, LiteMedSAM with boxes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .counting import count
from .files import phantom_frames
from .worker import Case

__all__ = ["NETWORKS", "STRUCTURES_OUT", "WAYS", "make_boxes", "make_network", "make_ours"]

STRUCTURES_OUT = 12


def _unet() -> nn.Module:
    from monai.networks.nets import UNet

    return UNet(2, 1, STRUCTURES_OUT, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2)


def _flexible_unet() -> nn.Module:
    from monai.networks.nets import FlexibleUNet

    return FlexibleUNet(1, STRUCTURES_OUT, "efficientnet-b0", pretrained=False, spatial_dims=2)


def _swin() -> nn.Module:
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(1, STRUCTURES_OUT, feature_size=24, spatial_dims=2)


def _unetr() -> nn.Module:
    from monai.networks.nets import UNETR

    return UNETR(1, STRUCTURES_OUT, (512, 512), spatial_dims=2)


def _nnunet() -> nn.Module:
    from monai.networks.nets import DynUNet

    strides = [1] + [2] * 7
    return DynUNet(2, 1, STRUCTURES_OUT, [3] * 8, strides, strides[1:], filters=[32, 64, 128, 256, 512, 512, 512, 512])


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "UNet": (_unet, "MONAI; 16 to 256 channels, 2 residual units, as in its tutorials"),
    "FlexibleUNet": (_flexible_unet, "MONAI; encoder EfficientNet-B0"),
    "SwinUNETR": (_swin, "MONAI in 2D; feature size 24"),
    "UNETR": (_unetr, "MONAI in 2D; ViT-B/16"),
    "nnU-Net 2D": (_nnunet, "MONAI's DynUNet as nnU-Net plans it for 512 x 512: 8 stages, 32 to 512 channels"),
}
"""Networks for training from scratch, with MONAI's defaults unless stated; random weights."""
WAYS = ("eager", "eager bfloat16", "torch.compile", "TorchScript")
"""PyTorch variants of ours."""


def batch_of(work: str, frames: int, size: int) -> torch.Tensor:
    """Frames of the synthetic cine, (frames, 1, size, size) in 0..1."""
    images, _ = phantom_frames(Path(work), frames, size)
    return torch.from_numpy(images).float()[:, None] / 255


def make_ours(way: str, work: str, frames: int, size: int, threads: list[int]) -> dict[str, Case]:
    """The network of ``vfss_seg`` in PyTorch.

    Args:
        way: one of :data:`WAYS`.
        work: folder of the synthetic cine.
        frames: per call.
        size: rows and columns.
        threads: numbers of threads.

    Returns:
        A case per number of threads.
    """
    from monai_agglo.prediction.segmenter import Segmenter

    network: Any = Segmenter(device="cpu").network
    image = batch_of(work, frames, size).permute(1, 2, 3, 0)[None].contiguous()
    counted = count(copy.deepcopy(network).to("meta"), image.to("meta"))
    facts = {"parameters": counted["parameters"], "gmacs_per_frame": counted["gmacs"] / frames, "weights": "vfss_seg"}
    if way == "torch.compile":
        network = torch.compile(network, dynamic=False)
    elif way == "TorchScript":
        with torch.inference_mode():
            network = torch.jit.freeze(torch.jit.script(network))
    bfloat16 = way == "eager bfloat16"

    @torch.inference_mode()
    def call() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            _masks(network(image))

    return {f"@{number}": Case(call, frames, number, dict(facts)) for number in threads}


def _masks(logits: torch.Tensor) -> torch.Tensor:
    return logits > 0


def make_network(name: str, work: str, frames: int, size: int, threads: list[int]) -> dict[str, Case]:
    """A network of :data:`NETWORKS` in eager PyTorch, frames as a batch.

    Args:
        name: of the network.
        work: folder of the synthetic cine.
        frames: per call.
        size: rows and columns.
        threads: numbers of threads.

    Returns:
        A case per number of threads.
    """
    make, what = NETWORKS[name]
    torch.manual_seed(0)
    network = make().eval()
    image = batch_of(work, frames, size)
    counted = count(copy.deepcopy(network).to("meta"), image[:1].to("meta"))
    facts = {"parameters": counted["parameters"], "gmacs_per_frame": counted["gmacs"], "weights": "random", "is": what}

    @torch.inference_mode()
    def call() -> None:
        _masks(network(image))

    return {f"@{number}": Case(call, frames, number, dict(facts)) for number in threads}


def make_boxes(work: str, size: int, threads: list[int], random_weights: bool = False) -> dict[str, Case]:
    """LiteMedSAM prompted with a box per structure of a frame.

    Args:
        work: folder of the synthetic cine.
        size: rows and columns.
        threads: numbers of threads.
        random_weights: use random weights.

    Returns:
        A case per number of threads; a call is one frame.
    """
    from monai_agglo.networks.sam_decoder import PromptSegmenter, SamDecoder
    from monai_agglo.networks.teachers import create_teacher, find_weights, teacher_class

    real = not random_weights and find_weights(teacher_class("litemedsam").spec) is not None
    teacher = create_teacher("litemedsam", random_weights=not real)
    segmenter = PromptSegmenter(teacher, SamDecoder(teacher.spec.input_size, teacher.spec.grid, teacher.weights_file))
    frames, masks = phantom_frames(Path(work), 8, size)
    frame, truth = max(zip(frames, masks), key=lambda pair: pair[1].any((1, 2)).sum())
    boxes = []
    for mask in truth[truth.any((1, 2))]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([columns[0], rows[0], columns[-1], rows[-1]])
    image, corners = torch.from_numpy(frame).float()[None, None] / 255, torch.tensor(boxes, dtype=torch.float32)
    parameters = sum(parameter.numel() for parameter in segmenter.parameters())
    facts = {"parameters": parameters, "weights": "published" if real else "random", "boxes": len(boxes)}

    def call() -> None:
        _masks(segmenter(image, boxes=corners))

    return {f"@{number}": Case(call, 1, number, dict(facts)) for number in threads}
