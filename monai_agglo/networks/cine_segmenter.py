"""The VFSS segmenter: light encoder and light decoder over every frame of a cine."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .light_decoder import LightDecoder
from .light_encoder import LightEncoder
from .temporal_shift import TemporalShift

__all__ = ["CineSegmenter"]


class CineSegmenter(nn.Module):
    """Segment structures in every frame of a cine.

    Frames are folded into the batch: constant cost per frame. Any height and width from 16 pixels
    work: frames are padded internally to a multiple of 32 by border replication, and the logits are cropped.

    Args:
        backbone: timm name of the encoder's backbone.
        out_channels: structures; 12 targets by default.
        feature_channels: channels of the encoder's fused map.
        decoder_channels: channels inside the decoder.
        decoder_blocks: separable convolutions in the decoder.
        stride: stride of the fused map, 4 or 8.
        temporal_shift: fraction of the feature channels exchanged with the neighbouring frames, 0 for none.
        causal: with ``temporal_shift``, use earlier frames only.
        pretrained: start from timm's ImageNet weights.
        train_step: stride of the logits in training mode, 1 or 2 pixels. 2 is the native stride of the head: the loss
            uses averaged masks and a step takes half the time.

    Raises:
        ValueError: for an unsupported backbone, stride or shift.
    """

    def __init__(
        self,
        backbone: str = "efficientvit_b0",
        out_channels: int = 12,
        feature_channels: int = 48,
        decoder_channels: int = 48,
        decoder_blocks: int = 2,
        stride: int = 4,
        temporal_shift: float = 0.0,
        causal: bool = False,
        pretrained: bool = False,
        train_step: int = 1,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.multiple = 32
        if train_step not in (1, 2):
            raise ValueError(f"train_step must be 1 or 2, not {train_step}")
        self.train_step = train_step
        self.encoder = LightEncoder(backbone, 1, feature_channels, stride, pretrained)
        self.shift = TemporalShift(temporal_shift, causal)
        self.decoder = LightDecoder(feature_channels, out_channels, decoder_channels, decoder_blocks)
        # Depthwise and pointwise convolutions run much faster in this layout on CPU and on tensor cores.
        self.to(memory_format=torch.channels_last)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Segment.

        Args:
            image: (B, 1, H, W, T), intensities 0..1 with dark barium, H and W at least 16.

        Returns:
            Logits (B, out_channels, H, W, T); a structure is present where the sigmoid exceeds 0.5, and structures
            may overlap.

        Raises:
            ValueError: if the input is not (B, 1, H, W, T), or smaller than 16 pixels.
        """
        features, frames, height, width = self._encode(image)
        return self._decode(self.shift(features, frames), frames, height, width)

    def coarse(self, image: torch.Tensor) -> torch.Tensor:
        """Logits at the native resolution of the head, for upsampling of selected structures only.

        Args:
            image: (B, 1, H, W, T), as for :meth:`forward`.

        Returns:
            (B * T, 4 * out_channels, h, w), the frames padded to a multiple of 32, see :meth:`LightDecoder.coarse`.
        """
        features, frames, _, _ = self._encode(image)
        return self.decoder.coarse(self.shift(features, frames))

    def coarse_part(self, image: torch.Tensor, past: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the next frames of a streamed cine, identical to :meth:`coarse` of the whole cine.

        Args:
            image: (B, 1, H, W, T), the next T frames.
            past: state returned for the previous frames; None for the first frames.

        Returns:
            Logits as from :meth:`coarse`, and the state for the next frames.

        Raises:
            ValueError: if the temporal shift is not causal.
        """
        features, frames, _, _ = self._encode(image)
        carried = self.shift.carried(features, frames)
        return self.decoder.coarse(self.shift(features, frames, past)), carried

    def _encode(self, image: torch.Tensor) -> tuple[torch.Tensor, int, int, int]:
        """Features (B * T, C, h, w) of padded frames, T, and the height and width before padding."""
        if image.dim() != 5 or image.shape[1] != 1:
            raise ValueError(f"CineSegmenter expects (B, 1, H, W, T), not {list(image.shape)}")
        batch, height, width, frames = image.shape[0], image.shape[2], image.shape[3], image.shape[4]
        if height < 16 or width < 16:
            raise ValueError(f"frames must be at least 16 x 16 pixels, not {height} x {width}")
        x = image.permute(0, 4, 1, 2, 3).reshape(batch * frames, 1, height, width)
        x = (x - 0.5) * 4.0
        below, right = -height % self.multiple, -width % self.multiple
        if below > 0 or right > 0:
            x = F.pad(x, [0, right, 0, below], mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        return self.encoder(x), frames, height, width

    def _decode(self, features: torch.Tensor, frames: int, height: int, width: int) -> torch.Tensor:
        """Logits (B, S, H, W, T) from mixed features."""
        below, right = -height % self.multiple, -width % self.multiple
        if self.training and self.train_step > 1:
            below, right = below // self.train_step, right // self.train_step
            height, width = height // self.train_step, width // self.train_step
        logits = self.decoder(features, height + below, width + right)[:, :, :height, :width]
        return logits.reshape(-1, frames, self.out_channels, height, width).permute(0, 2, 3, 4, 1)
