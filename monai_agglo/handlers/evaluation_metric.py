"""Base of the metrics computed once per evaluation."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.metrics import Metric

__all__ = ["EvaluationMetric"]


class EvaluationMetric(Metric):
    """Metric that is reset, updated and computed per epoch of an evaluator."""

    def attach(self, engine: Engine, name: str, usage=None) -> None:
        """Attach to the epochs of an evaluator.

        Args:
            engine: the evaluator.
            name: name of the metric.
            usage: ignored; validation is one epoch.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self.reset())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed, name)
