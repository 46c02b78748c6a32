"""Exponential moving average of the weights."""

from __future__ import annotations

import copy

import torch
from ignite.engine import Engine, Events
from torch import nn

__all__ = ["AttachHandler", "WeightAverage"]


class AttachHandler:
    """Adds an object defined elsewhere in a config to the handlers.

    ``train#handlers`` must be a list of dictionaries and cannot hold a plain reference.

    Args:
        handler: object with ``attach(engine)``.
    """

    def __init__(self, handler) -> None:
        self.handler = handler

    def attach(self, engine: Engine) -> None:
        """Attach the object."""
        self.handler.attach(engine)


class WeightAverage:
    """Exponential moving average (EMA) of the weights of a network.

    Running statistics of normalisation layers are averaged as well. Unlike :class:`ignite.handlers.EMAHandler` it has a
    ``state_dict`` for bit-exact resume, a decay schedule without a length, and synchronises ranks after each epoch.

    Args:
        network: trained network; a ``DistributedDataParallel`` wrapper is unwrapped.
        decay: decay of the average, 0..1; smaller during warm-up, ``(1 + n) / (10 + n)`` at step n.
        enabled: False makes :attr:`averaged` the network itself.

    Attributes:
        averaged: the EMA copy, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, enabled: bool = True) -> None:
        self.source = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
        self.decay = float(decay)
        self.enabled = bool(enabled)
        self.steps = 0
        self.averaged = copy.deepcopy(self.source).requires_grad_(False) if self.enabled else self.source
        if self.enabled:
            # No training-only behaviour (half-size logits) in validation.
            self.averaged.eval()

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        if self.enabled:
            engine.add_event_handler(Events.EPOCH_STARTED, self.start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.share)

    def start(self, engine: Engine) -> None:
        """Copy weights loaded before the first step."""
        if self.steps == 0:
            self.averaged.load_state_dict(self.source.state_dict())

    @torch.no_grad()
    def update(self, engine: Engine) -> None:
        """Update the average."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        mine, theirs = self.averaged.state_dict(), self.source.state_dict()
        moving = [name for name in mine if mine[name].is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in moving], [theirs[name] for name in moving], 1 - decay)
        counts = [name for name in mine if not mine[name].is_floating_point()]
        if counts:
            torch._foreach_copy_([mine[name] for name in counts], [theirs[name] for name in counts])

    def share(self, engine: Engine) -> None:
        """Broadcast the average of rank 0, the saved one: running statistics differ between ranks."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for value in self.averaged.state_dict().values():
                torch.distributed.broadcast(value, 0)

    def state_dict(self) -> dict:
        """State for a checkpoint."""
        return {"steps": self.steps, "averaged": self.averaged.state_dict() if self.enabled else {}}

    def load_state_dict(self, state: dict) -> None:
        """Restore the state of a checkpoint."""
        self.steps = int(state["steps"])
        if self.enabled:
            self.averaged.load_state_dict(state["averaged"])
