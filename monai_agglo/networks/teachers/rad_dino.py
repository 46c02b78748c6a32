"""RAD-DINO: DINOv2 ViT-B/14 tuned on 838,000 chest X-rays."""

from __future__ import annotations

from torch import nn

from .base import Teacher
from .dinov2 import DINOV2_LAYOUTS, Dinov2Patches
from .spec import TeacherSpec, WeightFile

__all__ = ["RadDino"]


class RadDino(Teacher):
    """The patch tokens of RAD-DINO, 518 px to 768 x 37 x 37. Reads the Hugging Face folder and the original layout."""

    spec = TeacherSpec(
        name="rad_dino",
        title="RAD-DINO",
        architecture="DINOv2 ViT-B/14",
        parameters=86_579_712,
        input_size=518,
        channels=768,
        grid=37,
        geometry="pad_square",
        resample="pil_bicubic",
        mean=(0.5307, 0.5307, 0.5307),
        std=(0.2583, 0.2583, 0.2583),
        licence="MIT",
        commercial="Yes under MIT; its authors mean it for research, not for clinical practice.",
        folder="rad_dino",
        files=(
            WeightFile("model.safetensors", "https://huggingface.co/microsoft/rad-dino/resolve/main/model.safetensors"),
            WeightFile(
                "backbone_compatible.safetensors",
                "https://huggingface.co/microsoft/rad-dino/resolve/main/backbone_compatible.safetensors",
                note="the original DINOv2 layout",
            ),
        ),
        citation="Perez-Garcia et al., Exploring scalable medical image encoders beyond text supervision, "
        "Nature Machine Intelligence 7, 2025",
        differs="The authors scale the shorter side to 518 px and cut the longer one; here the frame is padded.",
    )
    layouts = DINOV2_LAYOUTS

    def build_encoder(self) -> nn.Module:
        return Dinov2Patches("vit_base_patch14_dinov2")
