"""MobileNetV3-Small of ImageNet: the coarse, weak teacher of the set."""

from __future__ import annotations

from torch import nn

from .base import Teacher
from .checkpoint import Layout
from .spec import TeacherSpec, WeightFile

__all__ = ["MobileNetV3"]


class MobileNetV3(Teacher):
    """The last feature map of torchvision's MobileNetV3-Small, 224 px to 576 x 7 x 7."""

    spec = TeacherSpec(
        name="mobilenet_v3",
        title="MobileNetV3-Small",
        architecture="MobileNetV3-Small without classifier",
        parameters=927_008,
        input_size=224,
        channels=576,
        grid=7,
        geometry="pad_square",
        resample="pil_bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        licence="BSD-3-Clause",
        commercial="Yes, under BSD-3-Clause; ImageNet's own terms are disputed.",
        folder="mobilenet_v3_small",
        files=(
            WeightFile(
                "mobilenet_v3_small.pth",
                "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth",
                sha256="047dcff4addef86ea5bc2eff13c9614dc11f47ab1160d0a71a25e7db994f4e1f",
            ),
        ),
        citation="Howard et al., Searching for MobileNetV3, ICCV 2019",
        differs="The frame is padded to a square and scaled to 224 px; nothing is cut from 256 px.",
    )
    layouts = (Layout("torchvision", r"features\.0\.", ((r"features\.(.+)", r"\1"), (r"classifier\..+", None))),)

    def build_encoder(self) -> nn.Module:
        from torchvision.models import mobilenet_v3_small

        return mobilenet_v3_small(weights=None).features
