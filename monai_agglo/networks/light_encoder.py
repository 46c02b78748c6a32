"""Light image encoder: any timm backbone and a small neck that fuses its strides into one feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["CORE_BACKBONES", "LightEncoder", "SeparableConv", "parameter_groups"]

CORE_BACKBONES: tuple[str, ...] = (
    "efficientvit_b0",
    "efficientvit_b1",
    "efficientvit_b2",
    "repvit_m0_9",
    "repvit_m1_1",
    "repvit_m2_3",
    "tiny_vit_5m_224",
    "tiny_vit_11m_224",
    "tiny_vit_21m_224",
)
"""The nine students of the paper's first author (EfficientSAM3), by their timm names."""


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1 convolution, batch normalisation, Hardswish.

    Args:
        in_channels: input channels.
        out_channels: output channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Hardswish(inplace=True),
        )


class LightEncoder(nn.Module):
    """Backbone of :mod:`timm` with its feature maps fused top-down into one map.

    Every used level passes a 1x1 convolution; from coarse to fine each is up-sampled, added to the next finer one and
    smoothed by a depthwise-separable convolution.

    Args:
        backbone: name of any timm model that supports ``features_only``; see :data:`CORE_BACKBONES`.
        in_channels: channels of the input image, 1 for fluoroscopy.
        out_channels: channels of the fused map.
        stride: pixels of the input per pixel of the fused map, one of 4, 8, 16, 32. Levels finer than this are not
            used; a backbone without so fine a level is up-sampled.
        pretrained: load timm's ImageNet weights (fetched from the network by timm, or from ``backbone_options``).
        backbone_options: further arguments of ``timm.create_model``.

    Attributes:
        channels: channels of the backbone's levels that are used, fine to coarse.
        strides: their strides.

    Raises:
        ValueError: for an unknown backbone, one without feature maps, or an unsupported stride.
    """

    def __init__(
        self,
        backbone: str = "efficientvit_b0",
        in_channels: int = 1,
        out_channels: int = 48,
        stride: int = 4,
        pretrained: bool = False,
        backbone_options: dict | None = None,
    ) -> None:
        import timm

        super().__init__()
        if stride not in (4, 8, 16, 32):
            raise ValueError(f"the encoder's stride must be 4, 8, 16 or 32, not {stride}")
        if not timm.is_model(backbone):
            raise ValueError(f"timm {timm.__version__} has no model {backbone!r}; timm.list_models() lists its names")
        try:
            self.backbone = timm.create_model(
                backbone, pretrained=pretrained, features_only=True, in_chans=in_channels, **(backbone_options or {})
            )
        except (RuntimeError, AttributeError, TypeError) as error:
            raise ValueError(f"timm model {backbone!r} cannot be used as a feature extractor: {error}") from error
        reductions = list(self.backbone.feature_info.reduction())
        # timm returns the levels as a list: TorchScript wants the indices of the used ones fixed here.
        self.levels = [i for i, reduction in enumerate(reductions) if reduction >= stride]
        self.strides = [reductions[i] for i in self.levels]
        self.channels = [self.backbone.feature_info.channels()[i] for i in self.levels]
        self.stride = stride
        self.out_channels = out_channels
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
            for c in reversed(self.channels)
        )
        self.smooth = nn.ModuleList(SeparableConv(out_channels, out_channels) for _ in self.channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Encode frames.

        Args:
            image: (B, in_channels, H, W), H and W multiples of the coarsest stride (32).

        Returns:
            (B, out_channels, H / stride, W / stride).
        """
        maps = self.backbone(image)
        return self.fuse([maps[i] for i in self.levels], image.shape[2], image.shape[3])

    def fuse(self, levels: list[torch.Tensor], height: int, width: int) -> torch.Tensor:
        """Fuse the backbone's used levels.

        Args:
            levels: maps of the used levels, fine to coarse, see :attr:`channels`.
            height: rows of the image.
            width: columns of the image.

        Returns:
            (B, out_channels, height / stride, width / stride).
        """
        used = levels.copy()
        used.reverse()
        fused = used[0]
        for i, (lateral, smooth) in enumerate(zip(self.lateral, self.smooth)):
            level = lateral(used[i])
            if i > 0:
                level = level + F.interpolate(
                    fused, size=[level.shape[2], level.shape[3]], mode="bilinear", align_corners=False
                )
            fused = smooth(level)
        if self.strides[0] != self.stride:
            fused = F.interpolate(
                fused, size=[height // self.stride, width // self.stride], mode="bilinear", align_corners=False
            )
        return fused


def parameter_groups(network: nn.Module, weight_decay: float = 0.01) -> list[dict]:
    """Parameters for an optimiser: weight decay on convolution and linear weights, none on biases and norms.

    Args:
        network: any network.
        weight_decay: decay of the weights.

    Returns:
        Two parameter groups.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
