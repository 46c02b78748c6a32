"""What the DINOv2 teachers share: the ViT, and the key maps from the original and the Hugging Face layout.

The architecture is timm's: the module names of ``transformers`` changed between its releases, those of timm did not.
The parity tests compare with ``transformers``.
"""

from __future__ import annotations

import torch
from torch import nn

from .checkpoint import Layout, State, join_qkv

__all__ = ["DINOV2_LAYOUTS", "Dinov2Patches"]

_TOKENS = r"(cls_token|pos_embed|reg_token)"
_BLOCK = r"blocks\.(\d+)\."
_PARTS = r"((?:norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])\.(?:weight|bias)|ls[12]\.gamma)"
_HF_BLOCK = r"encoder\.layer\.(\d+)\."
# As the published folders have it, or as newer releases of transformers may write it.
_HF_QKV = (
    r"(?P<where>encoder\.layer\.\d+\.attention)\.(?:attention\.)?(?P<part>query|key|value|[qkv]_proj)\.(?P<kind>\w+)"
)


def _split_registers(state: State) -> State:
    """With registers, timm adds positions to the patches only; the file's first position belongs to the CLS token."""
    if "register_tokens" in state:
        state["reg_token"] = state.pop("register_tokens")
        state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        state["pos_embed"] = state["pos_embed"][:, 1:]
    return state


def _from_hugging_face(state: State) -> State:
    """Join query, key and value, as they are in the original, and give the tokens their original names."""
    state = join_qkv(state, _HF_QKV)
    for theirs, ours in (
        ("embeddings.cls_token", "cls_token"),
        ("embeddings.position_embeddings", "pos_embed"),
        ("embeddings.register_tokens", "register_tokens"),
    ):
        if theirs in state:
            state[ours] = state.pop(theirs)
    return _split_registers(state)


DINOV2_LAYOUTS = (
    Layout(
        "original DINOv2",
        r"blocks\.0\.",
        (
            (_TOKENS, r"vit.\1"),
            (r"(patch_embed\.proj|norm)\.(weight|bias)", r"vit.\1.\2"),
            (_BLOCK + _PARTS, r"vit.blocks.\1.\2"),
            (r"mask_token", None),  # of the pretraining task
        ),
        _split_registers,
    ),
    Layout(
        "Hugging Face Dinov2",
        r"encoder\.layer\.0\.",
        (
            (_TOKENS, r"vit.\1"),
            (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"vit.patch_embed.proj.\1"),
            (_HF_BLOCK + r"(norm[12]\.(?:weight|bias)|mlp\.fc[12]\.(?:weight|bias))", r"vit.blocks.\1.\2"),
            (_HF_BLOCK + r"attention\.qkv\.(weight|bias)", r"vit.blocks.\1.attn.qkv.\2"),
            (_HF_BLOCK + r"attention\.(?:output\.dense|o_proj)\.(weight|bias)", r"vit.blocks.\1.attn.proj.\2"),
            (_HF_BLOCK + r"layer_scale([12])\.lambda1", r"vit.blocks.\1.ls\2.gamma"),
            (r"layernorm\.(weight|bias)", r"vit.norm.\1"),
            (r"embeddings\.mask_token", None),  # of the pretraining task
        ),
        _from_hugging_face,
    ),
)


class Dinov2Patches(nn.Module):
    """A DINOv2 ViT/14 that gives its normalised patch tokens as a map, without CLS and registers.

    Args:
        model: timm's name of the architecture.
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        import timm

        self.vit = timm.create_model(model, num_classes=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) to (B, channels, size / 14, size / 14)."""
        tokens = self.vit.forward_features(x)[:, self.vit.num_prefix_tokens :]
        return tokens.transpose(1, 2).unflatten(2, (x.shape[-2] // 14, x.shape[-1] // 14))
