"""Random numbers that a resumed training draws again."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .ranks import rank

__all__ = ["Draws"]


class Draws(nn.Module):
    """A sequence of random draws, each of which depends on the seed and its number only.

    The number is in ``state_dict``. Nothing else in the program that draws random numbers changes the sequence.

    Args:
        seed: of the sequence, >= 0.
        per_rank: every process of a distributed training draws its own numbers; else all draw the same.
    """

    def __init__(self, seed: int, per_rank: bool = False) -> None:
        super().__init__()
        if seed < 0:
            raise ValueError(f"the seed of a balancer must be >= 0, not {seed}")
        self.seed = seed
        self.per_rank = per_rank
        self.count = 0  # a Python number: a tensor on the GPU would have to be waited for

    def next(self) -> np.random.Generator:
        """Generator of the next draw."""
        generator = np.random.default_rng((self.seed, self.count, rank() if self.per_rank else 0))
        self.count += 1
        return generator

    def get_extra_state(self) -> torch.Tensor:
        return torch.tensor(self.count)

    def set_extra_state(self, state: torch.Tensor) -> None:
        self.count = int(state)
