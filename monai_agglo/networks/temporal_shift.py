"""Temporal shift: neighbouring frames exchange a few feature channels, without parameters (Lin et al., ICCV 2019)."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["TemporalShift"]


class TemporalShift(nn.Module):
    """Move a fraction of the channels by one frame along time.

    The first and last frames repeat themselves instead of taking zeros, so that a still (T = 1) passes unchanged and
    the border frames of a cine keep the statistics of the others.

    Args:
        fraction: fraction of the channels that move, 0..1. Half of them look back and half look ahead; a causal shift
            only looks back. 0 makes the module the identity.
        causal: True when a frame must not depend on later frames (live use).

    Raises:
        ValueError: when ``fraction`` is outside 0..1.
    """

    def __init__(self, fraction: float = 0.25, causal: bool = False) -> None:
        super().__init__()
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"the fraction of shifted channels must be within 0..1, not {fraction}")
        self.fraction = float(fraction)
        self.causal = bool(causal)

    def forward(self, features: torch.Tensor, frames: int, past: torch.Tensor | None = None) -> torch.Tensor:
        """Shift.

        Args:
            features: (B * T, C, h, w), the frames of one cine next to each other.
            frames: T.
            past: what :meth:`carried` gave for the frames before these, where the cine comes piece by piece; only a
                causal shift can be continued.

        Returns:
            The mixed features, same shape.
        """
        moved = int(features.shape[1] * self.fraction)
        if moved == 0 or (frames == 1 and past is None):
            return features
        channels, height, width = features.shape[1], features.shape[2], features.shape[3]
        x = features.reshape(-1, frames, channels, height, width)
        back = moved if self.causal else moved // 2
        before = x[:, :1, :back] if past is None else past[:, None]
        earlier = torch.cat([before, x[:, :-1, :back]], dim=1)
        future = torch.cat([x[:, 1:, back:moved], x[:, -1:, back:moved]], dim=1)
        mixed = torch.cat([earlier, future, x[:, :, moved:]], dim=2)
        return mixed.reshape(-1, channels, height, width)

    def carried(self, features: torch.Tensor, frames: int) -> torch.Tensor:
        """What the next frames of the cine need of these.

        Args:
            features: (B * T, C, h, w) as given to :meth:`forward`.
            frames: T.

        Returns:
            (B, moved channels, h, w) of the last frame.

        Raises:
            ValueError: when the shift looks ahead, so that the last frame waits for the next.
        """
        if not self.causal and self.fraction > 0:
            raise ValueError("only a causal temporal shift can be run piece by piece")
        moved = int(features.shape[1] * self.fraction)
        return features.reshape(-1, frames, *features.shape[1:])[:, -1, :moved]

    def extra_repr(self) -> str:
        """Parameters shown by ``print(module)``."""
        return f"fraction={self.fraction}, causal={self.causal}"
