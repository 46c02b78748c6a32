"""Weights of a student from its file, for inference and as the start of a segmenter."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ignite.engine import Engine, Events
from torch import nn

from monai_agglo.data.frame_store import file_hash
from monai_agglo.networks import StudentEncoder, load_encoder
from monai_agglo.networks.student_file import find_card

from .weights_loader import WeightsLoader

__all__ = ["EncoderLoader", "StudentLoader", "StudentSheet", "student_hash"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudentSheet:
    """How a student sees a frame; what a picture of its features needs.

    Attributes:
        name: for file names.
        title: for people.
        input_size: side of its square input, in pixels.
        geometry: how a frame is fitted into it.
        min_side: as for teachers.
    """

    name: str = "student"
    title: str = "Student"
    input_size: int = 256
    geometry: str = "letterbox"
    min_side: int = 0


class StudentLoader(WeightsLoader):
    """Loads a student into a network when an engine starts.

    Args:
        path: ``student.safetensors`` or a plain state dict such as ``models/model.pt``, with its card beside it.
        network: the student.
        random_weights: leave it random on purpose, to try the plumbing.
        size: side of its square input, in pixels.

    Attributes:
        random_weights: whether the features mean nothing: the weights are random, or those of the teachers were.
    """

    def __init__(
        self, path: str | os.PathLike, network: StudentEncoder, random_weights: bool = False, size: int = 256
    ) -> None:
        super().__init__(path, network)
        self.random_weights = bool(random_weights)
        self._left_random = bool(random_weights)
        self.spec = StudentSheet(input_size=int(size))

    def load(self, engine: Engine | None = None) -> None:
        """Load now.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it does not hold the weights of this network.
        """
        if self._left_random:
            logger.warning("the student is left with RANDOM weights, as asked for: its features mean nothing")
            return
        card = find_card(self.path)
        if self.path.suffix != ".safetensors":
            super().load(engine)
        elif not self.path.is_file():
            raise FileNotFoundError(
                f"there is no student in {self.path}: train one with train.json, or name a file with --weights FILE"
            )
        else:
            load_encoder(self.network.encoder, self.path)  # type: ignore[arg-type]
            card = self.path.with_suffix(".json")
            logger.info("weights from %s", self.path)
        facts = json.loads(card.read_text(encoding="utf-8")) if card is not None and card.is_file() else {}
        self.random_weights = bool(facts.get("random"))
        if self.random_weights:
            logger.warning("%s is %s", self.path.name, facts.get("warning", "random"))


class EncoderLoader:
    """Starts the encoder of a segmenter from a distilled student when a training starts.

    Args:
        path: ``student.safetensors``; None does nothing.
        network: a network with an ``encoder``; a ``DistributedDataParallel`` wrapper is looked through.
    """

    def __init__(self, path: str | os.PathLike | None, network: nn.Module) -> None:
        self.path = None if path is None else Path(path)
        self.network = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network

    def attach(self, engine: Engine) -> None:
        """Load when this engine starts."""
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine | None = None) -> None:
        """Load now.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is no encoder of the network's kind.
        """
        if self.path is None:
            return
        load_encoder(self.network.encoder, self.path)  # type: ignore[arg-type]
        logger.info("encoder from %s", self.path)


def student_hash(path: str | os.PathLike | None) -> str:
    """What a tracker says of the encoder that a training started from.

    Args:
        path: ``student.safetensors``, or None.

    Returns:
        The file's SHA-256; ``none`` without a file.
    """
    return "none" if path is None or not Path(path).is_file() else file_hash(path)
