"""MobileSAM: SAM ViT-H distilled into TinyViT at 1024 px, on natural images."""

from __future__ import annotations

from torch import nn

from .base import Teacher
from .spec import TeacherSpec, WeightFile
from .tiny_vit import TINY_VIT_LAYOUTS, TinyVitNeck

__all__ = ["MobileSAM"]


class MobileSAM(Teacher):
    """The image encoder of MobileSAM, 1024 px to 256 x 64 x 64."""

    spec = TeacherSpec(
        name="mobilesam",
        title="MobileSAM",
        architecture="TinyViT-5M with SAM's neck",
        parameters=5_743_892,
        input_size=1024,
        channels=256,
        grid=64,
        geometry="letterbox",
        resample="pil_bilinear",
        mean=(123.675 / 255, 116.28 / 255, 103.53 / 255),
        std=(58.395 / 255, 57.12 / 255, 57.375 / 255),
        licence="Apache-2.0",
        commercial="Yes, under Apache-2.0.",
        folder="mobilesam",
        files=(
            WeightFile(
                "mobile_sam.pt",
                "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
                sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            ),
        ),
        citation="Zhang et al., Faster segment anything: towards lightweight SAM for mobile applications, 2023",
    )
    layouts = TINY_VIT_LAYOUTS

    def build_encoder(self) -> nn.Module:
        return TinyVitNeck(full_resolution=False)
