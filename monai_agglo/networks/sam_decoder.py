"""Masks from prompts: prompt encoder and mask decoder of SAM for any teacher of its family.

Both parts are those of the package ``segment-anything`` (Meta's code, Apache-2.0), so the original checkpoints need no
renaming; the Hugging Face layout has an explicit map.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .teachers.base import Teacher
from .teachers.checkpoint import Layout, load_strict, map_keys, read_checkpoint
from .teachers.geometry import FrameGrid

__all__ = ["PromptSegmenter", "SamDecoder", "check_prompts"]

_BLOCK = r"(mask_decoder\.transformer\.layers\.\d\.)"
_SAM_DECODER_LAYOUTS = (
    Layout(
        "original SAM",
        r"prompt_encoder\.pe_layer\.",
        ((r"((?:prompt_encoder|mask_decoder)\..+)", r"\1"), (r"image_encoder\..+", None)),
    ),
    Layout(
        "Hugging Face SAM",
        r"prompt_encoder\.shared_embedding\.|shared_image_embedding\.",
        (
            (
                r"shared_image_embedding\.positional_embedding",
                "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
            ),
            (r"prompt_encoder\.shared_embedding\.positional_embedding", None),  # the same tensor again
            (r"prompt_encoder\.mask_embed\.conv1\.(\w+)", r"prompt_encoder.mask_downscaling.0.\1"),
            (r"prompt_encoder\.mask_embed\.layer_norm1\.(\w+)", r"prompt_encoder.mask_downscaling.1.\1"),
            (r"prompt_encoder\.mask_embed\.conv2\.(\w+)", r"prompt_encoder.mask_downscaling.3.\1"),
            (r"prompt_encoder\.mask_embed\.layer_norm2\.(\w+)", r"prompt_encoder.mask_downscaling.4.\1"),
            (r"prompt_encoder\.mask_embed\.conv3\.(\w+)", r"prompt_encoder.mask_downscaling.6.\1"),
            (r"prompt_encoder\.point_embed\.(\d)\.weight", r"prompt_encoder.point_embeddings.\1.weight"),
            (r"(prompt_encoder\.(?:no_mask_embed|not_a_point_embed)\.weight)", r"\1"),
            (_BLOCK + r"layer_norm(\d)\.(\w+)", r"\1norm\2.\3"),
            (_BLOCK + r"((?:mlp\.lin[12]|\w+attn\w*\.(?:[qkv]|out)_proj)\.(?:weight|bias))", r"\1\2"),
            (r"(mask_decoder\.transformer\.final_attn_token_to_image\..+)", r"\1"),
            (
                r"mask_decoder\.transformer\.layer_norm_final_attn\.(\w+)",
                r"mask_decoder.transformer.norm_final_attn.\1",
            ),
            (r"mask_decoder\.upscale_conv1\.(\w+)", r"mask_decoder.output_upscaling.0.\1"),
            (r"mask_decoder\.upscale_layer_norm\.(\w+)", r"mask_decoder.output_upscaling.1.\1"),
            (r"mask_decoder\.upscale_conv2\.(\w+)", r"mask_decoder.output_upscaling.3.\1"),
            (r"(mask_decoder\.(?:iou_token|mask_tokens)\.weight)", r"\1"),
            (
                r"(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d))\.proj_in\.(\w+)",
                r"\1.layers.0.\2",
            ),
            (
                r"(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d))\.layers\.0\.(\w+)",
                r"\1.layers.1.\2",
            ),
            (
                r"(mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d))\.proj_out\.(\w+)",
                r"\1.layers.2.\2",
            ),
            (r"vision_encoder\..+", None),
        ),
    ),
)


class SamDecoder(nn.Module):
    """SAM's prompt encoder and mask decoder.

    Args:
        input_size: side of the teacher's square input in pixels, the unit of prompts.
        grid: side of the teacher's feature grid.
        weights: the checkpoint of the whole model (the teacher's own file); None for random weights.

    Raises:
        CheckpointError: if the checkpoint does not fit exactly.
        ImportError: if the package ``segment-anything`` is not installed.
    """

    def __init__(self, input_size: int, grid: int = 64, weights: str | Path | None = None) -> None:
        super().__init__()
        try:
            from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
        except ImportError as error:
            raise ImportError("prompts need the package segment-anything: pip install segment-anything==1.0") from error
        self.prompt_encoder = PromptEncoder(
            embed_dim=256,
            image_embedding_size=(grid, grid),
            input_image_size=(input_size, input_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=256, transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048)
        )
        if weights is not None:
            state = map_keys(read_checkpoint(weights), _SAM_DECODER_LAYOUTS, str(weights))
            load_strict(self, state, str(weights))
        self.eval()

    def forward(
        self,
        features: torch.Tensor,
        boxes: torch.Tensor | None = None,
        points: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode one image's prompts.

        Args:
            features: (1, 256, grid, grid) of one image.
            boxes: (N, 4) as x0, y0, x1, y1 in pixels of the teacher's input.
            points: coordinates (N, P, 2) as x, y and labels (N, P), 1 inside and 0 outside the object.

        Returns:
            Mask logits (N, 1, 4 grid, 4 grid) over the teacher's input, and the predicted IoU (N, 1).
        """
        sparse, dense = self.prompt_encoder(points=points, boxes=boxes, masks=None)
        return self.mask_decoder(
            image_embeddings=features,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )


class PromptSegmenter(nn.Module):
    """A teacher of the SAM family with its decoder: a frame and prompts in frame pixels to masks of the frame.

    Args:
        teacher: MedSAM, LiteMedSAM or MobileSAM.
        decoder: with the weights of the same checkpoint.

    Raises:
        ValueError: for a teacher of another family.
    """

    def __init__(self, teacher: Teacher, decoder: SamDecoder) -> None:
        super().__init__()
        if teacher.spec.geometry == "pad_square":
            raise ValueError(f"{teacher.spec.title} is no teacher of the SAM family and takes no prompts")
        self.teacher = teacher
        self.decoder = decoder

    @torch.no_grad()
    def forward(
        self,
        frame: torch.Tensor,
        boxes: torch.Tensor | None = None,
        points: tuple[torch.Tensor, torch.Tensor] | None = None,
        at_once: int = 16,
    ) -> torch.Tensor:
        """Segment the prompted objects of one frame.

        Args:
            frame: (1, 1, H, W) in [0, 1].
            boxes: (N, 4) as x0, y0, x1, y1 in frame pixels.
            points: coordinates (N, P, 2) as x, y in frame pixels and labels (N, P), 1 inside, 0 outside.
            at_once: number of prompts per decoder call.

        Returns:
            Logits (N, 1, H, W), above 0 inside.

        Raises:
            ValueError: without a prompt, or for more than one frame.
            FrameError: see :class:`~.teachers.Teacher`.
        """
        check_prompts(frame, boxes, points)
        spec = self.teacher.spec
        fit = FrameGrid.fit((frame.shape[-2], frame.shape[-1]), spec.geometry, spec.input_size, spec.min_side)
        features = self.teacher(frame).features
        if boxes is not None:
            boxes = fit.to_input(boxes.to(features).view(-1, 2, 2)).view(-1, 4)
        if points is not None:
            points = (fit.to_input(points[0].to(features)), points[1].to(features.device))
        masks = []
        for first in range(0, len(boxes) if boxes is not None else len(points[0]), at_once):  # type: ignore[index]
            some = slice(first, first + at_once)
            some_points = None if points is None else (points[0][some], points[1][some])
            logits, _ = self.decoder(features, None if boxes is None else boxes[some], some_points)
            masks.append(_to_frame(logits, fit))
        return torch.cat(masks)


def check_prompts(frame: torch.Tensor, boxes: torch.Tensor | None, points: tuple | None) -> None:
    """Check for at least one prompt and exactly one frame.

    Args:
        frame: (1, 1, H, W).
        boxes: (N, 4) or None.
        points: coordinates and labels, or None.

    Raises:
        ValueError: if not.
    """
    if boxes is None and points is None:
        raise ValueError("give at least one box or point")
    if len(frame) != 1:
        raise ValueError(f"one frame at a time, got {len(frame)}")


def _to_frame(logits: torch.Tensor, fit: FrameGrid) -> torch.Tensor:
    """Low-resolution logits of the square input to frame size: upsample, crop the padding, resize."""
    if fit.content != (fit.size, fit.size):
        logits = F.interpolate(logits, (fit.size, fit.size), mode="bilinear", align_corners=False)
        logits = logits[..., : fit.content[0], : fit.content[1]]
    return F.interpolate(logits, fit.frame, mode="bilinear", align_corners=False)
