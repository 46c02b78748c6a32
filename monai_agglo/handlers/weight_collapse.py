"""Warning for a collapsed teacher weight."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from ignite.engine import Engine, Events

__all__ = ["WeightCollapse"]

logger = logging.getLogger(__name__)


class WeightCollapse:
    """Warns if the weight of a teacher stays near zero.

    Learned weights of a sum of losses drift to the easiest teacher; the others are forgotten without any sign in the
    total loss. Shares are averaged over recent iterations, so that occasional dropping of a teacher is not reported.
    ``collapsed_teachers`` in ``state.metrics`` is the number of teachers below the threshold, over all students.

    Args:
        teachers: names, in the order of the weights.
        threshold: minimum averaged share, as a fraction of the equal share 1 / T.
        memory: averaging window in iterations.
    """

    def __init__(self, teachers: Sequence[str], threshold: float = 0.1, memory: int = 100) -> None:
        self.teachers = tuple(teachers)
        self.threshold = float(threshold) / len(self.teachers)
        self.memory = int(memory)
        self.share: dict[str, torch.Tensor] = {}
        self.seen: dict[str, int] = {}
        self.collapsed: dict[tuple[str, str], bool] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.look)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.count)

    def look(self, engine: Engine) -> None:
        """Update the averages; compare at intervals."""
        for student, result in engine.state.output["results"].items():
            weights = result.weights.detach().float().abs()
            share = weights / weights.sum().clamp(min=1e-12)
            seen = self.seen[student] = self.seen.get(student, 0) + 1
            old = self.share.get(student, share)
            self.share[student] = old + (share - old) * max(1 / seen, 1 / self.memory)
            if seen % self.memory == 0:
                self._compare(student, engine.state.iteration)

    def count(self, engine: Engine) -> None:
        """Compare, and write the number of collapsed teachers."""
        for student in self.share:
            if self.seen[student] >= min(self.memory, engine.state.epoch_length):
                self._compare(student, engine.state.iteration)
        engine.state.metrics["collapsed_teachers"] = float(sum(self.collapsed.values()))

    def _compare(self, student: str, iteration: int) -> None:
        for teacher, share in zip(self.teachers, self.share[student].tolist()):
            key, now = (student, teacher), share < self.threshold
            if now and not self.collapsed.get(key):
                logger.warning(
                    "%s, step %d: the weight of %s has collapsed to %.2g of all (below %.2g): the student forgets this "
                    "teacher; use a stabilised balancer, or equal weights on normalised targets",
                    student, iteration, teacher, share, self.threshold,
                )  # fmt: skip
            self.collapsed[key] = now
