"""Loads a student and the mask decoder of a SAM teacher into one network."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine, Events

from monai_agglo.networks import StudentForSam, StudentPromptNetwork
from monai_agglo.networks.sam_decoder import SamDecoder
from monai_agglo.networks.teachers import find_weights, weights_folders

__all__ = ["PromptStudentLoader"]

logger = logging.getLogger(__name__)


class PromptStudentLoader:
    """Loads a student exported with a teacher's feature space, and the teacher's decoder, when an engine starts.

    Args:
        path: output of ``export-student --keep TEACHER``, with its card beside it.
        network: network with the same options.
        decoder: published checkpoint of the teacher; searched in the weights folders if None.
        folders: further folders of weights.
        random_weights: keep random weights, for a dry run.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        network: StudentPromptNetwork,
        decoder: str | os.PathLike | None = None,
        folders: Sequence[str | os.PathLike] = (),
        random_weights: bool = False,
    ) -> None:
        self.path = Path(path)
        self.network = network
        self.decoder = None if decoder is None else Path(decoder)
        self.folders = [Path(folder) for folder in folders]
        self.random_weights = bool(random_weights)

    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        engine.add_event_handler(Events.STARTED, self.load)

    @property
    def marked(self) -> bool:
        """Whether the weights, or those of the teachers, are random and the output is meaningless."""
        card = self.path.with_suffix(".json")
        if self.random_weights or not card.is_file():
            return self.random_weights
        return bool(json.loads(card.read_text(encoding="utf-8")).get("random"))

    def load(self, engine: Engine | None = None) -> None:
        """Load student and decoder.

        Raises:
            FileNotFoundError: without a student or decoder, with the remedy.
            ValueError: if the student does not match the network.
        """
        spec = self.network.teacher.spec
        if self.random_weights:
            logger.warning("the student is left with RANDOM weights, as asked for: the masks mean nothing")
            return
        if not self.path.is_file():
            raise FileNotFoundError(
                f"there is no student in {self.path}: write one with 'python -m monai_agglo export-student CHECKPOINT "
                f"{self.path} --keep {spec.name}', or name a file with --weights FILE"
            )
        student, card = StudentForSam.read(self.path)
        own = self.network.teacher.options
        other = [key for key, value in student.options.items() if own[key] != value]
        if other:
            differences = ", ".join(f"{key} {student.options[key]}, not {own[key]}" for key in other)
            raise ValueError(f"{self.path} is of another student than network_def: {differences}")
        file = self.decoder or find_weights(spec, [*self.folders, *weights_folders()])
        if file is None:
            raise FileNotFoundError(
                f"there are no weights of {spec.title} for the mask decoder: get them with 'python -m monai_agglo "
                f"weights {spec.name}', or name the file with --decoder FILE"
            )
        self.network.teacher.load_state_dict(student.state_dict())
        self.network.teacher.random_weights = student.random_weights
        self.network.decoder.load_state_dict(SamDecoder(spec.input_size, spec.grid, file).state_dict())
        if student.random_weights:
            logger.warning("%s: %s", self.path.name, card.get("warning", "its teachers had RANDOM weights"))
        logger.info("student from %s, decoder from %s", self.path, file)
