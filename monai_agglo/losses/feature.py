"""Per-token distance between features of student and teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .cosine_smooth_l1 import cosine_smooth_l1

__all__ = ["FEATURE_LOSSES", "FeatureLoss"]

FEATURE_LOSSES = ("cosine_smooth_l1", "mse", "cosine")


class FeatureLoss(nn.Module):
    """Distance per token, averaged over the valid tokens; in float32, independent of autocast.

    - ``cosine_smooth_l1``: ``cosine`` (1 - cos) + ``smooth_l1`` smoothL1, the RADIO family's spatial loss.
    - ``mse``: mean squared difference over channels, as in simple distillation.
    - ``cosine``: 1 - cos, independent of the norm of features.

    smoothL1 is averaged over channels: d^2 / 2 below a difference of 1, d - 1 / 2 above.

    Args:
        kind: one of :data:`FEATURE_LOSSES`.
        cosine: factor of the cosine term of ``cosine_smooth_l1``.
        smooth_l1: factor of its other term.

    Raises:
        ValueError: for an unknown kind, or factors that are negative or both 0.
    """

    eps = 1e-6
    """Minimum norm of a feature: the angle of a zero feature is undefined."""

    def __init__(self, kind: str = "cosine_smooth_l1", cosine: float = 0.9, smooth_l1: float = 0.1) -> None:
        super().__init__()
        if kind not in FEATURE_LOSSES:
            raise ValueError(f"unknown feature loss {kind!r}; known are {', '.join(FEATURE_LOSSES)}")
        if min(cosine, smooth_l1) < 0 or cosine + smooth_l1 <= 0:
            raise ValueError(f"factors of a feature loss must not be negative nor both 0: {cosine}, {smooth_l1}")
        self.kind = kind
        self.cosine = cosine
        self.smooth_l1 = smooth_l1

    def forward(self, prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Compare.

        Args:
            prediction: (B, C, h, w), the student's, projected onto the teacher's grid and channels.
            target: (B, C, h, w), the teacher's, normalised; finite also where masked.
            mask: (B, h, w), boolean or the share of each token that shows the frame: tokens below one half are
                ignored. None for no mask.

        Returns:
            (B,) float32, one loss per sample; 0, with gradient 0, for a sample without valid tokens.

        Raises:
            ValueError: if the shapes do not match.
        """
        if prediction.shape != target.shape or prediction.ndim != 4:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} must both be (B, C, h, w)"
            )
        tokens = self.per_token(prediction, target)
        if mask is None:
            return tokens.mean((1, 2))
        if mask.shape != tokens.shape:
            raise ValueError(f"a mask for {tuple(target.shape)} is {tuple(tokens.shape)}, not {tuple(mask.shape)}")
        valid = (mask.as_subclass(torch.Tensor).to(tokens.device) >= 0.5).float()
        return (tokens * valid).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)

    def per_token(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of every token, (B, h, w) float32; see :meth:`forward`."""
        with torch.autocast(prediction.device.type, enabled=False):
            p, t = (x.as_subclass(torch.Tensor) for x in (prediction, target))
            if self.kind == "cosine_smooth_l1" and p.device.type == "cpu" and not t.requires_grad:
                return cosine_smooth_l1(p, t, self.cosine, self.smooth_l1, self.eps)
            p, t = p.float(), t.float()
            if self.kind == "mse":
                return (p - t).square().mean(1)
            angle = 1 - (p * t).sum(1) / (self._length(p) * self._length(t))
            if self.kind == "cosine":
                return angle
            return self.cosine * angle + self.smooth_l1 * F.smooth_l1_loss(p, t, reduction="none").mean(1)

    def _length(self, features: torch.Tensor) -> torch.Tensor:
        # Clamped before the root: its slope at 0 is infinite.
        return features.square().sum(1).clamp(min=self.eps**2).sqrt()

    def extra_repr(self) -> str:
        factors = f", cosine={self.cosine}, smooth_l1={self.smooth_l1}" if self.kind == "cosine_smooth_l1" else ""
        return self.kind + factors
