"""Guard of the optimiser: clipped gradients, and no step on a gradient that is not a number."""

from __future__ import annotations

import logging

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents

__all__ = ["ClipGradients"]

logger = logging.getLogger(__name__)


class ClipGradients:
    """Clips the norm of all gradients before each step.

    Args:
        network: network in training.
        max_norm: largest norm. A step whose norm is not finite is made with zero gradients and logged.
    """

    def __init__(self, network: torch.nn.Module, max_norm: float = 5.0) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.max_norm = float(max_norm)

    def attach(self, engine: Engine) -> None:
        """Follow a trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.clip)

    def clip(self, engine: Engine) -> None:
        """Clip."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        if not torch.isfinite(norm):
            logger.warning("step %d: the gradient is not finite and was left out", engine.state.iteration)
            for p in self.parameters:
                if p.grad is not None:
                    p.grad.zero_()
