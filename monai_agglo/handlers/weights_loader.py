"""Strict loading of weights into a network."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from ignite.engine import Engine, Events

__all__ = ["WeightsLoader"]

logger = logging.getLogger(__name__)


class WeightsLoader:
    """Loads a plain state dict into a network when an engine starts.

    MONAI's ``CheckpointLoader`` ignores missing keys; this handler raises for weights that do not match the network.

    Args:
        path: file with a state dict, or with one under ``"model"``; read with ``weights_only=True``.
        network: the network; a ``DistributedDataParallel`` wrapper is unwrapped.
        required: raise if the file is missing; False logs a warning and keeps the network unchanged.
    """

    def __init__(self, path: str | os.PathLike, network: torch.nn.Module, required: bool = True) -> None:
        self.path = Path(path)
        self.network = network.module if isinstance(network, torch.nn.parallel.DistributedDataParallel) else network
        self.required = bool(required)

    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine | None = None) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: if a required file does not exist.
            ValueError: if the weights do not match the network.
        """
        if not self.path.is_file():
            if self.required:
                raise FileNotFoundError(
                    f"there are no weights in {self.path}: train first, or name a file with --weights FILE"
                )
            logger.warning("there are no weights in %s: the network starts from nothing", self.path)
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{self.path} is not a plain file of weights ({type(error).__name__})") from None
        state = state.get("model", state) if isinstance(state, dict) else {}
        own = self.network.state_dict()
        wrong = sorted(
            key
            for key in own.keys() | state.keys()
            if key not in own or key not in state or getattr(state[key], "shape", None) != own[key].shape
        )
        if wrong:
            raise ValueError(
                f"{self.path} does not belong to this network: {len(wrong)} of {len(own)} tensors are missing, unknown "
                f"or of another shape (the first: {wrong[0]})"
            )
        self.network.load_state_dict(state)
        logger.info("weights from %s", self.path)
