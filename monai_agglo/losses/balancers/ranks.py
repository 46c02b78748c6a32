"""Averages over the processes of a distributed training."""

from __future__ import annotations

import torch
import torch.distributed as dist

__all__ = ["average_over_ranks", "rank", "world_size"]


def world_size() -> int:
    """Number of processes that train together, 1 without distributed training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, 0 without distributed training."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def average_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Average a detached tensor over all processes.

    Args:
        value: any shape; left as it is.

    Returns:
        The mean, on all processes; ``value`` itself where there is one process.
    """
    if world_size() == 1:
        return value
    mean = value.detach().clone()
    dist.all_reduce(mean)
    return mean / world_size()
