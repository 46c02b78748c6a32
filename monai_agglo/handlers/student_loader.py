"""Loads the weights of a student for inference or to initialise a segmenter."""

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
    """Data sheet of a student, as needed for feature visualisations.

    Attributes:
        name: name in file names.
        title: display name.
        input_size: side of its square input, in pixels.
        geometry: how a frame is fitted into the square.
        min_side: see teachers.
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
        random_weights: keep random weights, for a dry run.
        size: side of its square input, in pixels.

    Attributes:
        random_weights: whether the weights, or those of the teachers, are random and the features meaningless.
    """

    def __init__(
        self, path: str | os.PathLike, network: StudentEncoder, random_weights: bool = False, size: int = 256
    ) -> None:
        super().__init__(path, network)
        self.random_weights = bool(random_weights)
        self._left_random = bool(random_weights)
        self.spec = StudentSheet(input_size=int(size))

    def load(self, engine: Engine | None = None) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: if the weights do not match the network.
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
    """Initialises the encoder of a segmenter from a distilled student when a training starts.

    Args:
        path: ``student.safetensors``; None skips loading.
        network: a network with an ``encoder``; a ``DistributedDataParallel`` wrapper is unwrapped.
    """

    def __init__(self, path: str | os.PathLike | None, network: nn.Module) -> None:
        self.path = None if path is None else Path(path)
        self.network = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network

    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        engine.add_event_handler(Events.STARTED, self.load)

    def load(self, engine: Engine | None = None) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: if the file does not exist.
            ValueError: if the encoder does not match the network.
        """
        if self.path is None:
            return
        load_encoder(self.network.encoder, self.path)  # type: ignore[arg-type]
        logger.info("encoder from %s", self.path)


def student_hash(path: str | os.PathLike | None) -> str:
    """Identity of the initial encoder for the experiment tracker.

    Args:
        path: ``student.safetensors``, or None.

    Returns:
        The file's SHA-256; ``none`` without a file.
    """
    return "none" if path is None or not Path(path).is_file() else file_hash(path)
