"""Segmentation loss for overlapping, absent and unlabelled structures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["StructureLoss"]


class StructureLoss(nn.Module):
    """Binary cross-entropy plus soft Dice, per structure and frame.

    A labelled structure absent from a frame contributes to the cross-entropy only, since its Dice is undefined.
    Channels with target 255 are unlabelled in that frame and ignored.

    Args:
        bce_weight: factor of the cross-entropy.
        dice_weight: factor of the Dice term.
        smooth: pixels added to both sides of the Dice fraction.
    """

    unlabelled: int = 255

    def __init__(self, bce_weight: float = 3.0, dice_weight: float = 1.0, smooth: float = 1.0) -> None:
        super().__init__()
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight
        self.smooth = smooth

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare.

        Args:
            logits: (B, S, h, w, T). h and w may be an integer fraction of H and W: the masks are then averaged, which
                preserves sub-pixel edges.
            target: (B, S, H, W, T) of 0, 1 and 255 (channel and frame not labelled).

        Returns:
            Scalar; 0 (with gradient 0) for a batch without labels.

        Raises:
            ValueError: if the shapes do not match.
        """
        target = target.as_subclass(torch.Tensor).to(logits.device)
        logits = logits.as_subclass(torch.Tensor)
        step = target.shape[2] // max(logits.shape[2], 1)
        whole = (logits.shape[2] * step, logits.shape[3] * step)
        same = logits.shape[:2] == target.shape[:2] and logits.shape[4] == target.shape[4]
        if not same or whole != tuple(target.shape[2:4]):
            raise ValueError(f"logits {tuple(logits.shape)} and masks {tuple(target.shape)} do not belong together")
        known = (target[:, :, 0, 0, :] != self.unlabelled).transpose(1, 2).flatten(0, 1)  # (B * T, S)
        # Frames before structures: the network's memory layout, without a copy.
        x = logits.permute(0, 4, 1, 2, 3).flatten(0, 1).float()
        y = target.permute(0, 4, 1, 2, 3).flatten(0, 1)
        y = y.float() if step == 1 else F.avg_pool2d(y.float(), step)
        y = y * known[:, :, None, None]
        weight = known.float()
        count = weight.sum().clamp(min=1)
        bce = F.binary_cross_entropy_with_logits(x, y, reduction="none").mean((2, 3))
        loss = self.bce_weight * (bce * weight).sum() / count
        area = y.sum((2, 3))
        present = ((area > 0) & known).float()
        p = torch.sigmoid(x)
        shared, both = (p * y).sum((2, 3)), p.sum((2, 3)) + area
        dice = 1 - (2 * shared + self.smooth) / (both + self.smooth)
        return loss + self.dice_weight * (dice * present).sum() / present.sum().clamp(min=1)
