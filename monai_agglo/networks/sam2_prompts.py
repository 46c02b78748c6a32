"""Masks from prompts with SAM 2: its prompt encoder and mask decoder on a single frame, without the memory."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .sam_decoder import check_prompts
from .teachers.base import Teacher
from .teachers.geometry import FrameGrid
from .teachers.preprocess import preprocess

__all__ = ["Sam2PromptSegmenter"]


class Sam2PromptSegmenter(nn.Module):
    """MedSAM2 with its own decoder: a frame and prompts in frame pixels to masks of the frame.

    The call is that of :class:`~.sam_decoder.PromptSegmenter`. SAM 2 also decodes finer levels of its pyramid,
    so the decoder needs more than the teacher's features; its weights are part of the teacher's.

    Args:
        teacher: MedSAM2.

    Raises:
        ValueError: for a teacher of another family.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        if not hasattr(teacher.encoder, "sam2"):
            raise ValueError(f"{teacher.spec.title} is no SAM 2 model")
        self.teacher = teacher

    @torch.no_grad()
    def forward(
        self,
        frame: torch.Tensor,
        boxes: torch.Tensor | None = None,
        points: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Segment the prompted objects of one frame.

        Args:
            frame: (1, 1, H, W) in [0, 1].
            boxes: (N, 4) as x0, y0, x1, y1 in frame pixels.
            points: coordinates (N, P, 2) as x, y in frame pixels and labels (N, P), 1 inside, 0 outside.

        Returns:
            Logits (N, 1, H, W), above 0 inside.

        Raises:
            ValueError: without a prompt, or for more than one frame.
            FrameError: see :class:`~.teachers.Teacher`.
        """
        check_prompts(frame, boxes, points)
        pixels, fit = preprocess(frame, self.teacher.spec)
        model = self.teacher.encoder.sam2
        *fine, coarse = model.forward_image(pixels)["backbone_fpn"]
        coarse = coarse + model.no_mem_embed.view(1, -1, 1, 1)  # as for the features: see Sam2Embedding
        sparse, dense = model.sam_prompt_encoder(points=_as_points(fit, boxes, points, coarse), boxes=None, masks=None)
        logits, _, _, _ = model.sam_mask_decoder(
            image_embeddings=coarse,
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            repeat_image=len(sparse) > 1,
            high_res_features=fine,
        )
        return F.interpolate(logits, fit.frame, mode="bilinear", align_corners=False)


def _as_points(
    fit: FrameGrid,
    boxes: torch.Tensor | None,
    points: tuple[torch.Tensor, torch.Tensor] | None,
    like: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """SAM 2 takes a box as two points, labelled 2 and 3, before the others."""
    coordinates, labels = [], []
    if boxes is not None:
        corners = fit.to_input(boxes.to(like).view(-1, 2, 2))
        coordinates.append(corners)
        labels.append(torch.tensor([[2, 3]], device=like.device).expand(len(corners), -1))
    if points is not None:
        coordinates.append(fit.to_input(points[0].to(like)))
        labels.append(points[1].to(like.device))
    return torch.cat(coordinates, 1), torch.cat(labels, 1).to(torch.int32)
