"""The least weight of a teacher, which no balancer takes from it."""

from __future__ import annotations

import torch

__all__ = ["above_floor", "checked_floor"]


def checked_floor(floor: float) -> float:
    """The floor itself.

    Args:
        floor: f, as a share of the equal weight 1 / T.

    Raises:
        ValueError: outside of [0, 1).
    """
    if not 0 <= floor < 1:
        raise ValueError(f"the floor is a share of the equal weight, 0 <= floor < 1, not {floor}")
    return floor


def above_floor(weights: torch.Tensor, floor: float) -> torch.Tensor:
    """Mix with equal weights: f / T + (1 - f) w.

    Args:
        weights: (..., T), which sum to 1.
        floor: f in [0, 1).

    Returns:
        (..., T), which sum to 1, none below f / T.
    """
    return floor / weights.shape[-1] + (1 - floor) * weights
