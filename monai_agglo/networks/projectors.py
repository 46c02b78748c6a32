"""Projectors from the student's features to a teacher's: one per teacher, used in training and dropped afterwards.

They map a feature map of any size to one of the same size with the teacher's channels. Their output is linear, or
invertible where the paper has a final nonlinearity: targets are centred, so half of the values are negative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

__all__ = [
    "PROJECTORS",
    "AffineProjector",
    "ChannelNorm",
    "LadderProjector",
    "MlpProjector",
    "TransformerProjector",
    "make_projector",
]

WIDEST = 256
"""Default limit of hidden channels.

At 64 x 64 cells a wider projector costs more than a small student.
"""


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each cell of a (B, C, h, w) map."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _hidden(in_channels: int, out_channels: int, hidden: int | None) -> int:
    return max(in_channels, min(out_channels, WIDEST)) if hidden is None else hidden


def _mlp(in_channels: int, hidden: int, out_channels: int, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 1),
        ChannelNorm(hidden),
        nn.GELU(),
        nn.Conv2d(hidden, out_channels, 1, bias=bias),
    )


class MlpProjector(nn.Module):
    """Two 1x1 convolutions with layer normalisation and GELU between them, the head of the RADIO family.

    Args:
        in_channels: of the student's map.
        out_channels: of the teacher's map.
        hidden: hidden channels; if None, the larger of both sides, with at most 256 for the teacher's.
        levels: not read.
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int | None = None, levels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.layers = _mlp(in_channels, _hidden(in_channels, out_channels, hidden), out_channels)

    def forward(self, features: torch.Tensor, levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """(B, in_channels, h, w) to (B, out_channels, h, w)."""
        return self.layers(features)


class AffineProjector(nn.Module):
    """The paper's z = sigma(W e + b): one 1x1 convolution and a nonlinearity.

    The paper does not specify sigma. ReLU and sigmoid cannot reach negative targets, tanh none beyond 1, and gradients
    vanish where they saturate. A leaky ReLU is strictly increasing and unbounded: every target is reachable and every
    token has a gradient.

    Args:
        in_channels: of the student's map.
        out_channels: of the teacher's map.
        hidden: not read.
        levels: not read.
    """

    slope = 0.25
    """Negative slope of the leaky ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int | None = None, levels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.linear = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: torch.Tensor, levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """(B, in_channels, h, w) to (B, out_channels, h, w)."""
        return F.leaky_relu(self.linear(features), self.slope)


class LadderProjector(nn.Module):
    """UNIC's ladder: a sum of MLPs, one on the student's map and one on each level of its backbone.

    The loss reaches the backbone's levels directly, not only through the neck. All levels are resampled to the grid of
    the student's map: finer ones are averaged before their MLP, coarser ones interpolated after it.

    Args:
        in_channels: of the student's map.
        out_channels: of the teacher's map.
        hidden: channels inside each MLP; see :class:`MlpProjector`, without regard to wider levels, when None.
        levels: channels of the backbone's levels.

    Raises:
        ValueError: without levels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int | None = None, levels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        if not levels:
            raise ValueError("a ladder projector needs the channel counts of the backbone's levels (levels=...)")
        width = _hidden(in_channels, out_channels, hidden)
        self.layers = _mlp(in_channels, width, out_channels)
        # One bias is enough for a sum.
        self.rungs = nn.ModuleList(_mlp(channels, width, out_channels, bias=False) for channels in levels)

    def forward(self, features: torch.Tensor, levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Project.

        Args:
            features: (B, in_channels, h, w).
            levels: maps (B, c, h_l, w_l) of the backbone's levels over the same input; each side a whole multiple or
                fraction of the student's map.

        Returns:
            (B, out_channels, h, w).

        Raises:
            ValueError: if the levels do not match the projector or the student's grid.
        """
        if levels is None or len(levels) != len(self.rungs):
            raise ValueError(f"a ladder projector reads {len(self.rungs)} levels, got {len(levels or ())}")
        grid = (features.shape[2], features.shape[3])
        result = self.layers(features)
        for rung, level in zip(self.rungs, levels):
            own = (level.shape[2], level.shape[3])
            if any(max(a, b) % min(a, b) for a, b in zip(own, grid)):
                raise ValueError(
                    f"a level of {own[0]} x {own[1]} cells does not fit the student's {grid[0]} x {grid[1]}: give the "
                    "student inputs with sides that are multiples of 32"
                )
            if own[0] > grid[0]:
                level = F.adaptive_avg_pool2d(level, grid)
            result = result + _enlarge(rung(level), grid)
        return result


def _enlarge(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    if (maps.shape[2], maps.shape[3]) == grid:
        return maps
    return F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)


class TransformerProjector(nn.Module):
    """DUNE's projector: one transformer block over all cells, then a linear map.

    For teachers with global context that a convolutional student lacks. Without position embeddings it works on any
    grid; its cost is quadratic in the number of cells.

    Args:
        in_channels: of the student's map.
        out_channels: of the teacher's map.
        hidden: channels of the block; those of the student, at least 64, if None. A linear map before the block adapts
            other widths.
        levels: not read.
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int | None = None, levels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        width = max(in_channels, 64) if hidden is None else hidden
        heads = next(n for n in range(max(1, width // 64), 0, -1) if width % n == 0)
        self.enter = nn.Linear(in_channels, width) if width != in_channels else nn.Identity()
        self.block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, out_channels)

    def forward(self, features: torch.Tensor, levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """(B, in_channels, h, w) to (B, out_channels, h, w)."""
        tokens = features.flatten(2).transpose(1, 2)
        tokens = self.leave(self.norm(self.block(self.enter(tokens))))
        return tokens.transpose(1, 2).unflatten(2, features.shape[2:])


_KINDS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MlpProjector,
    "affine": AffineProjector,
    "ladder": LadderProjector,
    "transformer": TransformerProjector,
}

PROJECTORS = tuple(_KINDS)
"""Names for :func:`make_projector`."""


def make_projector(
    kind: str, in_channels: int, out_channels: int, hidden: int | None = None, levels: Sequence[int] = ()
) -> nn.Module:
    """Make a projector; all are called with the student's map and the backbone's levels or None.

    Args:
        kind: one of :data:`PROJECTORS`.
        in_channels: of the student's map.
        out_channels: of the teacher's map.
        hidden: channels inside; the projector's default if None.
        levels: channels of the backbone's levels, used by the ladder only.

    Returns:
        A module from (B, in_channels, h, w) to (B, out_channels, h, w).

    Raises:
        ValueError: for an unknown kind, a size below 1, or a ladder without levels.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown projector {kind!r}; known are {', '.join(PROJECTORS)}")
    if min(in_channels, out_channels, *(levels or (1,)), 1 if hidden is None else hidden) < 1:
        raise ValueError(f"a projector's channels must be at least 1: {in_channels}, {out_channels}, {hidden}")
    return _KINDS[kind](in_channels, out_channels, hidden, tuple(levels))
