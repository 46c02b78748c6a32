"""The student: a light encoder of single frames, identical in distillation and deployment."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .light_encoder import LightEncoder

__all__ = ["StudentEncoder", "level_affine"]


class StudentEncoder(nn.Module):
    """A :class:`LightEncoder` with input scaling for frames in [0, 1].

    Encoder and input scaling are those of :class:`~.cine_segmenter.CineSegmenter`: a distilled student initialises a
    segmenter without conversion.

    Args:
        backbone: timm name of the encoder's backbone.
        out_channels: channels of the fused map, e_L of the paper.
        stride: pixels of the input per cell of the fused map, one of 4, 8, 16, 32.
        pretrained: start from timm's ImageNet weights.
        backbone_options: further arguments of ``timm.create_model``.

    Attributes:
        options: the arguments above, as plain JSON; ``StudentEncoder(**options)`` rebuilds the network.

    Raises:
        ValueError: for an unsupported backbone or stride.
    """

    def __init__(
        self,
        backbone: str = "efficientvit_b0",
        out_channels: int = 48,
        stride: int = 4,
        pretrained: bool = False,
        backbone_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.options = {"backbone": backbone, "out_channels": out_channels, "stride": stride}
        if backbone_options:
            self.options["backbone_options"] = dict(backbone_options)
        self.encoder = LightEncoder(backbone, 1, out_channels, stride, pretrained, backbone_options)
        self.to(memory_format=torch.channels_last)

    @property
    def out_channels(self) -> int:
        """Channels of the fused map."""
        return self.encoder.out_channels

    @property
    def stride(self) -> int:
        """Pixels of the input per cell of the fused map."""
        return self.encoder.stride

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of the backbone's levels that are used, fine to coarse."""
        return tuple(self.encoder.channels)

    @property
    def level_strides(self) -> tuple[int, ...]:
        """Strides of these levels."""
        return tuple(self.encoder.strides)

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Rows and columns of the maps that :meth:`encode` gives of an image: the fused one, then the used levels."""
        padded = (height + -height % 32, width + -width % 32)
        fused = (-(-height // self.stride), -(-width // self.stride))
        return [fused, *((padded[0] // stride, padded[1] // stride) for stride in self.level_strides)]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Encode frames.

        Args:
            image: (B, 1, H, W) in [0, 1], at least 16 pixels a side; padded internally to a multiple of 32.

        Returns:
            (B, out_channels, ceil(H / stride), ceil(W / stride)).

        Raises:
            ValueError: for an input of another shape.
        """
        return self.encode(image)[0]

    def encode(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Encode frames and return the backbone's levels as well, for some projectors.

        Args:
            image: see :meth:`forward`.

        Returns:
            The fused map, and the maps (B, c, h, w) of the used levels, fine to coarse.

        Raises:
            ValueError: for an input of another shape.
        """
        if image.dim() != 4 or image.shape[1] != 1 or min(image.shape[2:]) < 16:
            raise ValueError(f"a student expects (B, 1, H, W) with at least 16 x 16 pixels, not {list(image.shape)}")
        height, width = image.shape[2], image.shape[3]
        x = (image - 0.5) * 4.0
        below, right = -height % 32, -width % 32
        if below > 0 or right > 0:
            x = F.pad(x, [0, right, 0, below], mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        maps = self.encoder.backbone(x)
        levels = [maps[i] for i in self.encoder.levels]
        fused = self.encoder.fuse(levels, x.shape[2], x.shape[3])
        if below > 0 or right > 0:
            fused = fused[:, :, : -(-height // self.stride), : -(-width // self.stride)]
        return fused, levels


def level_affine(image_affine: torch.Tensor, stride: int) -> torch.Tensor:
    """Affine of a map of a given stride in the frame.

    Args:
        image_affine: (..., 3, 3), input pixel (row, column, 1) to frame (row, column, 1).
        stride: input pixels per cell.

    Returns:
        (..., 3, 3), cell to frame: the centre of cell 0 is the centre of the first ``stride`` pixels.
    """
    step = image_affine.new_tensor([[stride, 0, (stride - 1) / 2], [0, stride, (stride - 1) / 2], [0, 0, 1]])
    return image_affine @ step
