"""TinyViT-5M with SAM's neck, as MobileSAM and LiteMedSAM use it: timm's blocks with other strides, and the key map."""

from __future__ import annotations

import torch
from torch import nn

from .checkpoint import Layout
from .sam import PROMPT_PARTS

__all__ = ["TINY_VIT_LAYOUTS", "TinyVitNeck"]

_NAMES = (
    (r"image_encoder\.patch_embed\.seq\.0\.c\.weight", "trunk.patch_embed.conv1.conv.weight"),
    (r"image_encoder\.patch_embed\.seq\.0\.bn\.(\w+)", r"trunk.patch_embed.conv1.bn.\1"),
    (r"image_encoder\.patch_embed\.seq\.2\.c\.weight", "trunk.patch_embed.conv2.conv.weight"),
    (r"image_encoder\.patch_embed\.seq\.2\.bn\.(\w+)", r"trunk.patch_embed.conv2.bn.\1"),
)
# timm puts the step down at the beginning of a stage, the original at the end of the stage before.
_STEPS = tuple(
    rule
    for stage in (0, 1, 2)
    for rule in (
        (
            rf"image_encoder\.layers\.{stage}\.downsample\.(conv\d)\.c\.weight",
            rf"trunk.stages.{stage + 1}.downsample.\1.conv.weight",
        ),
        (rf"image_encoder\.layers\.{stage}\.downsample\.(conv\d\.bn\.\w+)", rf"trunk.stages.{stage + 1}.downsample.\1"),
    )
)
_BLOCK = r"image_encoder\.layers\.(\d)\.blocks\.(\d)\."
_BLOCKS = (
    (_BLOCK + r"(conv\d|local_conv)\.c\.weight", r"trunk.stages.\1.blocks.\2.\3.conv.weight"),
    (_BLOCK + r"((?:conv\d|local_conv)\.bn\.\w+)", r"trunk.stages.\1.blocks.\2.\3"),
    (_BLOCK + r"(attn\.(?:attention_biases|(?:norm|qkv|proj)\.(?:weight|bias)))", r"trunk.stages.\1.blocks.\2.\3"),
    (_BLOCK + r"(mlp\.(?:norm|fc1|fc2)\.(?:weight|bias))", r"trunk.stages.\1.blocks.\2.\3"),
)
_NECK = ((r"image_encoder\.(neck\.[0-3]\.(?:weight|bias))", r"\1"),)
_CLASSIFIER = ((r"image_encoder\.(norm_head|head)\.(weight|bias)", None),)  # of ImageNet, unused

TINY_VIT_LAYOUTS = (
    Layout(
        "TinyViT in SAM",
        r"image_encoder\.patch_embed\.seq\.",
        (*_NAMES, *_STEPS, *_BLOCKS, *_NECK, *_CLASSIFIER, *PROMPT_PARTS),
    ),
)


class TinyVitNeck(nn.Module):
    """TinyViT-5M whose last step down keeps the resolution, then SAM's neck.

    Args:
        full_resolution: the patch embedding keeps the resolution too (LiteMedSAM: 256 px to 64 x 64), instead of
            dividing it by 4 (MobileSAM: 1024 px to 64 x 64).
    """

    def __init__(self, full_resolution: bool) -> None:
        super().__init__()
        import timm
        from timm.layers import LayerNorm2d

        self.trunk = timm.create_model("tiny_vit_5m_224", num_classes=0)
        self.trunk.head = nn.Identity()
        if full_resolution:
            embed = self.trunk.patch_embed
            for step in (embed.conv1, embed.conv2):
                step.conv = nn.Conv2d(step.conv.in_channels, step.conv.out_channels, 1, bias=False)
        self.trunk.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.neck = nn.Sequential(
            nn.Conv2d(320, 256, 1, bias=False),
            LayerNorm2d(256, eps=1e-6),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256, eps=1e-6),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) to (B, 256, grid, grid)."""
        return self.neck(self.trunk.forward_features(x))
