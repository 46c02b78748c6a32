"""Light decoder: from one feature map to per-structure logits at full size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .light_encoder import SeparableConv

__all__ = ["LightDecoder"]


class LightDecoder(nn.Module):
    """Separable convolutions, a sub-pixel head, bilinear upsampling to full size.

    Each pixel of the feature map predicts a 2 x 2 block of logits (sub-pixel convolution), which preserves the
    edges of thin structures such as the epiglottis at the cost of one 1x1 convolution.

    Args:
        in_channels: channels of the encoder's map.
        out_channels: structures.
        channels: channels inside.
        blocks: number of separable convolutions.
    """

    def __init__(self, in_channels: int = 48, out_channels: int = 12, channels: int = 48, blocks: int = 2) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(SeparableConv(in_channels if i == 0 else channels, channels) for i in range(blocks))
        )
        self.head = nn.Conv2d(channels if blocks else in_channels, 4 * out_channels, 1)
        self.shuffle = nn.PixelShuffle(2)
        # Structures cover about 2 % of a frame: this prior saves the first hundred steps.
        nn.init.constant_(self.head.bias, -4.0)

    def forward(self, features: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Decode.

        Args:
            features: (B, in_channels, h, w).
            height: rows of the output.
            width: columns of the output.

        Returns:
            Logits (B, out_channels, height, width).
        """
        logits = self.shuffle(self.coarse(features))
        if logits.shape[2] != height or logits.shape[3] != width:
            logits = F.interpolate(logits, size=[height, width], mode="bilinear", align_corners=False)
        return logits

    def coarse(self, features: torch.Tensor) -> torch.Tensor:
        """Logits before pixel shuffle and upsampling, the only further steps of :meth:`forward`.

        Args:
            features: (B, in_channels, h, w).

        Returns:
            (B, 4 * out_channels, h, w): for each structure the 2 x 2 block of every pixel, row by row.
        """
        return self.head(self.blocks(features))
