"""Means over tasks with bootstrap intervals over patients and seeds, and paired differences of two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "TaskScores", "difference", "interval", "mean_dice"]


@dataclass(frozen=True)
class TaskScores:
    """Scores of one method on one task.

    Attributes:
        task: its name.
        dice: (seeds, settings, images) fractions; NaN where an image shows no structure.
        sources: per image its patient or original.
    """

    task: str
    dice: np.ndarray
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, fractions."""

    mean: float
    low: float
    high: float

    def as_json(self) -> dict:
        """As the published figures have it."""
        return {"mean": round(self.mean, 5), "ci95": [round(self.low, 5), round(self.high, 5)]}

    @property
    def positive(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0


def mean_dice(scores: Sequence[TaskScores], draws: int = 2000, seed: int = 0) -> Estimate:
    """Mean over tasks of the mean over settings, seeds and images, with its interval.

    Args:
        scores: one entry per task.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        The estimate.
    """
    return interval(float(np.mean([_point(own) for own in scores])), _resampled(scores, draws, seed))


def difference(ours: Sequence[TaskScores], theirs: Sequence[TaskScores], draws: int = 2000, seed: int = 0) -> Estimate:
    """Mean gain of one method over another, paired by image, setting and seed.

    Args:
        ours: one entry per task.
        theirs: the same tasks, images, settings and seeds.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        The estimate of ours minus theirs.

    Raises:
        ValueError: if they cannot be paired.
    """
    for own, other in zip(ours, theirs, strict=True):
        if (own.task, own.sources, own.dice.shape) != (other.task, other.sources, other.dice.shape):
            raise ValueError(f"scores of {own.task} cannot be paired: other images, settings or seeds")
    gains = [TaskScores(own.task, own.dice - other.dice, own.sources) for own, other in zip(ours, theirs)]
    return mean_dice(gains, draws, seed)


def interval(mean: float, draws: np.ndarray) -> Estimate:
    """The 2.5 and 97.5 percentiles of draws beside a mean."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(mean, float(low), float(high))


def _point(scores: TaskScores) -> float:
    return float(np.mean(np.nanmean(scores.dice, axis=2)))


def _resampled(scores: Sequence[TaskScores], draws: int, seed: int) -> np.ndarray:
    """Draw patients of each task, and seeds, with replacement: (draws,) means."""
    rng = np.random.default_rng(seed)
    seeds = scores[0].dice.shape[0]
    if any(own.dice.shape[0] != seeds for own in scores):
        raise ValueError("every task needs the same seeds")
    share = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds  # (draws, seeds)
    total = np.zeros(draws)
    for own in scores:
        names, where = np.unique(own.sources, return_inverse=True)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
        weights = counts[:, where].astype(float)  # (draws, images)
        known = ~np.isnan(own.dice)
        summed = np.einsum("bn,skn->bsk", weights, np.where(known, own.dice, 0))
        count = np.einsum("bn,skn->bsk", weights, known.astype(float))
        # A draw without any image that shows a structure says nothing; the mean of all stands in for it.
        means = np.where(count > 0, summed / np.maximum(count, 1e-12), np.nanmean(own.dice, axis=2)[None])
        total += np.einsum("bs,bsk->bk", share, means).mean(1)
    return total / len(scores)
