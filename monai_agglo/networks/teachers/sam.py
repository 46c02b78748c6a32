"""What the SAM family shares: the ViT-B image encoder, its key maps, and the prompt parts that encoders leave out."""

from __future__ import annotations

from functools import partial

from torch import nn

from .checkpoint import Layout

__all__ = ["PROMPT_PARTS", "SAM_VIT_LAYOUTS", "sam_vit_b"]

# Left out of an encoder on purpose: SamDecoder reads them from the same file.
PROMPT_PARTS: tuple[tuple[str, str | None], ...] = ((r"(prompt_encoder|mask_decoder)\..*", None),)

_BLOCK = r"image_encoder\.blocks\.(\d+)\."
_HF_BLOCK = r"vision_encoder\.layers\.(\d+)\."

SAM_VIT_LAYOUTS = (
    Layout(
        "original SAM",
        r"image_encoder\.blocks\.",
        (
            (r"image_encoder\.(pos_embed|patch_embed\.proj\.(?:weight|bias)|neck\.[0-3]\.(?:weight|bias))", r"\1"),
            (
                _BLOCK + r"(norm[12]\.(?:weight|bias)|attn\.(?:rel_pos_[hw]|(?:qkv|proj)\.(?:weight|bias)))",
                r"blocks.\1.\2",
            ),
            (_BLOCK + r"mlp\.lin([12])\.(weight|bias)", r"blocks.\1.mlp.fc\2.\3"),
            *PROMPT_PARTS,
        ),
    ),
    Layout(
        "Hugging Face SAM",
        r"vision_encoder\.layers\.",
        (
            (r"vision_encoder\.pos_embed", "pos_embed"),
            (r"vision_encoder\.patch_embed\.projection\.(weight|bias)", r"patch_embed.proj.\1"),
            (_HF_BLOCK + r"layer_norm([12])\.(weight|bias)", r"blocks.\1.norm\2.\3"),
            (_HF_BLOCK + r"(attn\.(?:rel_pos_[hw]|(?:qkv|proj)\.(?:weight|bias)))", r"blocks.\1.\2"),
            (_HF_BLOCK + r"mlp\.lin([12])\.(weight|bias)", r"blocks.\1.mlp.fc\2.\3"),
            (r"vision_encoder\.neck\.conv1\.weight", "neck.0.weight"),
            (r"vision_encoder\.neck\.layer_norm1\.(weight|bias)", r"neck.1.\1"),
            (r"vision_encoder\.neck\.conv2\.weight", "neck.2.weight"),
            (r"vision_encoder\.neck\.layer_norm2\.(weight|bias)", r"neck.3.\1"),
            (r"shared_image_embedding\.positional_embedding", None),
            *PROMPT_PARTS,
        ),
    ),
)


def sam_vit_b(image_size: int = 1024) -> nn.Module:
    """SAM's ViT-B image encoder with its neck.

    Args:
        image_size: side of the square input, a multiple of 16.

    Returns:
        (B, 3, image_size, image_size) to (B, 256, image_size / 16, image_size / 16).
    """
    import timm

    # SAM was trained with this eps; timm's own default for this model is 1e-5.
    norm = partial(nn.LayerNorm, eps=1e-6)
    return timm.create_model("samvit_base_patch16", img_size=image_size, num_classes=0, global_pool="", norm_layer=norm)
