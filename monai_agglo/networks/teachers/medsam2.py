"""MedSAM2: SAM 2.1 Hiera-T tuned on 455,000 3D image-mask pairs and 76,000 video frames."""

from __future__ import annotations

import torch
from torch import nn

from .base import Teacher
from .checkpoint import Layout
from .spec import TeacherSpec, WeightFile

__all__ = ["MedSAM2"]


class Sam2Embedding(nn.Module):
    """The whole SAM 2.1 model; its forward is the image embedding that its predictor hands to the mask decoder.

    Built from the package's own configuration file without Hydra's search path, so that it works wherever Hydra was
    set up before, or was not.

    Args:
        image_size: side of the square input.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        try:
            import sam2
            from hydra.utils import instantiate
            from omegaconf import OmegaConf
        except ImportError as error:
            raise ImportError(
                "MedSAM2 needs the package sam2: SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2==1.1.0"
            ) from error
        from pathlib import Path

        config = OmegaConf.load(Path(sam2.__path__[0]) / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml").model
        config.image_size = image_size
        for attention in (config.memory_attention.layer.self_attention, config.memory_attention.layer.cross_attention):
            attention.feat_sizes = [image_size // 16, image_size // 16]
        self.sam2 = instantiate(config, _recursive_=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) to (B, 256, size / 16, size / 16)."""
        features = self.sam2.forward_image(x)["backbone_fpn"][-1]
        # A still image has no memory: the predictor adds this constant, on which the mask decoder was trained.
        return features + self.sam2.no_mem_embed.view(1, -1, 1, 1)


class MedSAM2(Teacher):
    """The image embedding of MedSAM2, 512 px to 256 x 32 x 32."""

    spec = TeacherSpec(
        name="medsam2",
        title="MedSAM2",
        architecture="SAM 2.1 Hiera-T with FPN (the count includes its memory and decoder)",
        parameters=38_962_498,
        input_size=512,
        channels=256,
        grid=32,
        geometry="squash",
        resample="pil_bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        stretch=True,
        licence="CC-BY-SA-4.0 (as its Hugging Face page says; the code is Apache-2.0)",
        commercial="Yes with attribution, and what is adapted from it must carry the same licence (CC-BY-SA-4.0).",
        folder="medsam2",
        files=(
            WeightFile("MedSAM2_latest.pt", "https://huggingface.co/wanglab/MedSAM2/resolve/main/MedSAM2_latest.pt"),
        ),
        citation="Ma et al., MedSAM2: segment anything in 3D medical images and videos, 2025, arXiv 2504.03600",
    )
    layouts = (Layout("SAM 2", r"image_encoder\.trunk\.", ((r"(.+)", r"sam2.\1"),)),)

    def build_encoder(self) -> nn.Module:
        return Sam2Embedding(self.spec.input_size)
