"""MedSAM: SAM ViT-B tuned on 1.57 million medical image-mask pairs."""

from __future__ import annotations

from torch import nn

from .base import Teacher
from .sam import SAM_VIT_LAYOUTS, sam_vit_b
from .spec import TeacherSpec, WeightFile

__all__ = ["MedSAM"]


class MedSAM(Teacher):
    """The image encoder of MedSAM, 1024 px to 256 x 64 x 64. Reads the original file, that of its training code and the
    Hugging Face folder."""

    spec = TeacherSpec(
        name="medsam",
        title="MedSAM",
        architecture="SAM ViT-B image encoder",
        parameters=89_670_912,
        input_size=1024,
        channels=256,
        grid=64,
        geometry="squash",
        resample="skimage_cubic",
        min_max=True,
        licence="Apache-2.0",
        commercial="Yes, under Apache-2.0.",
        folder="medsam",
        files=(
            WeightFile(
                "medsam_vit_b.pth",
                "https://zenodo.org/records/10689643/files/medsam_vit_b.pth?download=1",
                md5="3bb6db55bd0c9ca30b61248bca72f8d6",
            ),
            WeightFile(
                "pytorch_model.bin",
                "https://huggingface.co/wanglab/medsam-vit-base/resolve/main/pytorch_model.bin",
                note="the release of April 2023",
            ),
        ),
        citation="Ma et al., Segment anything in medical images, Nature Communications 15:654, 2024",
    )
    layouts = SAM_VIT_LAYOUTS

    def build_encoder(self) -> nn.Module:
        return sam_vit_b(self.spec.input_size)
