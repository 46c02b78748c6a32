"""Gradient clipping that also guards the optimiser against NaN and infinite gradients."""

from __future__ import annotations

import logging

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents

__all__ = ["ClipGradients"]

logger = logging.getLogger(__name__)


class ClipGradients:
    """Clips the global gradient norm before each step; MONAI and Ignite have no such handler.

    Args:
        network: trained network.
        max_norm: maximum norm. If the norm is not finite, gradients are set to zero and a warning is logged.
    """

    def __init__(self, network: torch.nn.Module, max_norm: float = 5.0) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.max_norm = float(max_norm)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.clip)

    def clip(self, engine: Engine) -> None:
        """Clip the gradients."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        if not torch.isfinite(norm):
            logger.warning("step %d: the gradient is not finite and was left out", engine.state.iteration)
            for p in self.parameters:
                if p.grad is not None:
                    p.grad.zero_()
