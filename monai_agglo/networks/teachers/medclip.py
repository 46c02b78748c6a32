"""MedCLIP: vision encoders trained on chest X-rays with their reports, Swin-T and ResNet-50."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import torch
from torch import nn

from .base import Teacher
from .checkpoint import Layout, State, join_qkv
from .spec import TeacherSpec, WeightFile

__all__ = ["MedCLIP", "MedCLIPResNet50"]

_URL = "https://storage.googleapis.com/pytrial/"
_TEXT = ((r"text_model\..+", None), (r"logit_scale", None))  # the text tower and the temperature of the contrast


def _join_qkv(state: State) -> State:
    """timm's Swin keeps query, key and value in one matrix."""
    return join_qkv(state, r"(?P<where>vision_model\..+\.attention\.self)\.(?P<part>query|key|value)\.(?P<kind>\w+)")


_BLOCK = r"vision_model\.model\.encoder\.layers\.(\d)\.blocks\.(\d)\."
_OURS = r"swin.layers.\1.blocks.\2."
# timm puts the step down at the beginning of a stage, the original at the end of the stage before.
_STEPS = tuple(
    (
        rf"vision_model\.model\.encoder\.layers\.{stage}\.downsample\.(norm\.(?:weight|bias)|reduction\.weight)",
        rf"swin.layers.{stage + 1}.downsample.\1",
    )
    for stage in (0, 1, 2)
)

_SWIN_RULES = (
    (r"vision_model\.model\.embeddings\.patch_embeddings\.projection\.(weight|bias)", r"swin.patch_embed.proj.\1"),
    (r"vision_model\.model\.embeddings\.norm\.(weight|bias)", r"swin.patch_embed.norm.\1"),
    (r"vision_model\.model\.layernorm\.(weight|bias)", r"swin.norm.\1"),
    (_BLOCK + r"layernorm_before\.(weight|bias)", _OURS + r"norm1.\3"),
    (_BLOCK + r"layernorm_after\.(weight|bias)", _OURS + r"norm2.\3"),
    (_BLOCK + r"attention\.self\.qkv\.(weight|bias)", _OURS + r"attn.qkv.\3"),
    (_BLOCK + r"attention\.self\.relative_position_bias_table", _OURS + "attn.relative_position_bias_table"),
    (_BLOCK + r"attention\.self\.relative_position_index", None),  # a constant, built anew
    (_BLOCK + r"attention\.output\.dense\.(weight|bias)", _OURS + r"attn.proj.\3"),
    (_BLOCK + r"intermediate\.dense\.(weight|bias)", _OURS + r"mlp.fc1.\3"),
    (_BLOCK + r"output\.dense\.(weight|bias)", _OURS + r"mlp.fc2.\3"),
    *_STEPS,
    (r"vision_model\.projection_head\.weight", None),  # of the pooled vector
    *_TEXT,
)


class SwinMap(nn.Module):
    """Swin-T that gives its normalised last feature map, (B, 3, 224, 224) to (B, 768, 7, 7)."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        self.swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.swin.forward_features(x).permute(0, 3, 1, 2)


class MedCLIP(Teacher):
    """The vision tower of MedCLIP-ViT (a Swin-T), 224 px to 768 x 7 x 7, from the keys of transformers 4.24."""

    spec = TeacherSpec(
        name="medclip",
        title="MedCLIP",
        architecture="Swin-T",
        parameters=27_519_354,
        input_size=224,
        channels=768,
        grid=7,
        geometry="pad_square",
        resample="pil_bicubic",
        mean=(0.5862785803043838,) * 3,
        std=(0.27950088968644304,) * 3,
        min_side=224,
        licence="not stated (no licence file; its setup.py says BSD)",
        commercial="Ask the authors: the weights carry no licence.",
        folder="medclip",
        files=(WeightFile("pytorch_model.bin", _URL + "medclip-vit-pretrained.zip", member="pytorch_model.bin"),),
        citation="Wang et al., MedCLIP: contrastive learning from unpaired medical images and text, EMNLP 2022",
    )
    layouts = (Layout("MedCLIP-ViT", r"vision_model\.model\.(encoder|embeddings)\.", _SWIN_RULES, _join_qkv),)

    def build_encoder(self) -> nn.Module:
        return SwinMap()


class MedCLIPResNet50(Teacher):
    """The vision tower of MedCLIP-ResNet, 224 px to 2048 x 7 x 7."""

    spec = replace(
        MedCLIP.spec,
        name="medclip_resnet50",
        title="MedCLIP ResNet-50",
        architecture="ResNet-50",
        parameters=23_508_032,
        channels=2048,
        folder="medclip_resnet50",
        files=(WeightFile("pytorch_model.bin", _URL + "medclip-pretrained.zip", member="pytorch_model.bin"),),
    )
    layouts = (
        Layout(
            "MedCLIP-ResNet",
            r"vision_model\.model\.layer1\.",
            (
                (r"vision_model\.model\.(conv1|bn1)\.(\w+)", r"\1.\2"),
                (r"vision_model\.model\.(layer[1-4]\..+)", r"\1"),
                (r"vision_model\.model\.fc\.weight", None),  # the projection of the pooled vector
                *_TEXT,
            ),
        ),
    )

    def build_encoder(self) -> nn.Module:
        from torchvision.models import resnet50

        children = dict(resnet50(weights=None).named_children())
        return nn.Sequential(OrderedDict((k, v) for k, v in children.items() if k not in ("avgpool", "fc")))
