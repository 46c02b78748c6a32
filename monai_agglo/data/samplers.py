"""Samplers that depend on seed and epoch only, and their share per process."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Sampler

__all__ = ["EpochBatchSampler", "ShareSampler", "StepBatchSampler", "rank_and_world"]


class EpochBatchSampler(Sampler):
    """Batches in an order that depends on seed and epoch only, so that a training resumes at any iteration.

    Under ``torch.distributed`` each process gets its own part of every batch's neighbourhood.

    Args:
        dataset: anything with a length.
        batch_size: samples per batch and process.
        shuffle: reshuffle each epoch.
        seed: random seed.
    """

    def __init__(self, dataset, batch_size: int, shuffle: bool = True, seed: int = 0) -> None:
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.seed = int(seed)
        self.epoch = 1
        self.skip = 0

    def set_position(self, epoch: int, skip: int = 0) -> None:
        """Set the epoch (counted from 1) and the number of batches to skip in the next pass."""
        self.epoch = int(epoch)
        self.skip = int(skip)

    def __len__(self) -> int:
        share = len(self.dataset) // rank_and_world()[1]
        # The last incomplete batch is dropped, unless it is the only one.
        return max(1, share // self.batch_size)

    def __iter__(self):
        rank, world = rank_and_world()
        count = len(self.dataset)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(count) if self.shuffle else np.arange(count)
        order = np.resize(order, max(count, world))[rank::world]
        skip, self.skip = self.skip, 0
        for batch in range(skip, len(self)):
            numbers = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, int(n)) for n in numbers]


class StepBatchSampler(Sampler):
    """A fixed number of batches over as many shuffled epochs as that takes; the whole training is one pass.

    The order depends only on the seed, so that a training can be resumed at any step.

    Args:
        dataset: anything with a length.
        batch_size: samples per step; all when there are fewer.
        steps: of the whole training.
        seed: of the order.
    """

    def __init__(self, dataset, batch_size: int, steps: int, seed: int = 0) -> None:
        self.dataset = dataset
        self.batch_size = min(int(batch_size), len(dataset))
        self.steps = int(steps)
        self.seed = int(seed)
        self.skip = 0

    def set_position(self, epoch: int, skip: int = 0) -> None:
        """Choose how many steps to leave out in the next pass; there is one epoch only."""
        self.skip = int(skip)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self):
        count = len(self.dataset)
        share = count // self.batch_size
        skip, self.skip = self.skip, 0
        for step in range(skip, self.steps):
            epoch, place = divmod(step, share)
            order = np.random.default_rng([self.seed, epoch]).permutation(count)
            yield [(epoch, int(n)) for n in order[place * self.batch_size : (place + 1) * self.batch_size]]


class ShareSampler(Sampler):
    """Share of a data set per process, in order and without repetition, for distributed evaluation.

    Args:
        dataset: anything with a length; with fewer samples than processes, samples are repeated.
    """

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def _numbers(self) -> np.ndarray:
        rank, world = rank_and_world()
        count = len(self.dataset)
        return np.resize(np.arange(count), max(count, world))[rank::world]

    def __len__(self) -> int:
        return len(self._numbers())

    def __iter__(self):
        return iter(self._numbers().tolist())


def rank_and_world() -> tuple[int, int]:
    """Rank and world size; (0, 1) without ``torch.distributed``."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
