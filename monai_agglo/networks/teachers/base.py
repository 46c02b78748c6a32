"""The base of all teachers: frozen, self-describing, out of checkpoints, one call from frames to features."""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from .checkpoint import CheckpointError, Layout, load_strict, map_keys, read_checkpoint
from .geometry import TeacherFeatures
from .preprocess import preprocess
from .spec import TeacherSpec

__all__ = ["Teacher"]

logger = logging.getLogger(__name__)


class Teacher(nn.Module):
    """A frozen expert encoder: frames in [0, 1] in, patch features with their place in the frame out.

    A subclass gives ``spec``, ``layouts`` and :meth:`build_encoder`. The encoder stays in eval mode and its parameters
    never ask for a gradient. A module that holds a teacher saves and loads as if the teacher were not there.

    Args:
        weights: a checkpoint in one of the teacher's layouts; None for random weights, only on request.
        random_weights: random weights on purpose, to try the plumbing; everything derived from them is marked.
        in_checkpoint: keep the encoder in ``state_dict``, for a bundle whose network the teacher is.

    Raises:
        CheckpointError: if the checkpoint does not fit exactly.
        ValueError: unless exactly one of ``weights`` and ``random_weights`` is given.
    """

    spec: ClassVar[TeacherSpec]
    layouts: ClassVar[tuple[Layout, ...]]

    def __init__(
        self, weights: str | Path | None = None, random_weights: bool = False, in_checkpoint: bool = False
    ) -> None:
        super().__init__()
        if (weights is None) is not random_weights:
            raise ValueError(f"teacher {self.spec.name} needs either weights=PATH or random_weights=True")
        self.in_checkpoint = in_checkpoint
        self.random_weights = random_weights
        self.weights_file = None if weights is None else str(weights)
        with torch.random.fork_rng(devices=[]):  # the same random weights everywhere, and the caller's state untouched
            torch.manual_seed(0)
            self.encoder = self.build_encoder()
        if weights is not None:
            state = map_keys(read_checkpoint(weights), self.layouts, str(weights))
            load_strict(self.encoder, state, str(weights))
        elif not in_checkpoint:  # else the weights come with the checkpoint
            logger.warning("teacher %s has RANDOM weights: its features mean nothing", self.spec.name)
        self.requires_grad_(False)
        self.eval()

    @abstractmethod
    def build_encoder(self) -> nn.Module:
        """The architecture with any weights: (B, 3, size, size) pixels to (B, channels, grid, grid) features."""

    @torch.no_grad()
    def forward(self, frames: torch.Tensor) -> TeacherFeatures:
        """Encode frames.

        Args:
            frames: (B, 1, H, W) floating in [0, 1], all of one size, dark barium.

        Returns:
            Features, their affine to the frame and the valid-area mask.

        Raises:
            FrameError: for frames that hold nothing to encode, see :func:`~.preprocess.check_frames`.
        """
        pixels, fit = preprocess(frames, self.spec)
        features = self.encoder(pixels)
        grid, device = self.spec.grid, features.device
        return TeacherFeatures(features, fit.affine(grid, device), fit.mask(grid, device))

    def train(self, mode: bool = True) -> Teacher:
        """A teacher always stays in eval mode."""
        return super().train(False)

    def weights_hash(self) -> str:
        """16 hexadecimal digits of the tensors in use; begins with ``random-`` for random weights."""
        digest = hashlib.sha256()
        for key, value in self.encoder.state_dict().items():
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return ("random-" if self.random_weights else "") + digest.hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """The data sheet with what is loaded, as plain JSON: goes into every output made with this teacher."""
        return {
            **asdict(self.spec),
            "class": f"{type(self).__module__}:{type(self).__qualname__}",
            "stride": self.spec.stride,
            "random_weights": self.random_weights,
            "weights_file": None if self.weights_file is None else Path(self.weights_file).name,
            "weights_hash": self.weights_hash(),
            "preprocessing_hash": self.spec.preprocessing_hash(),
        }

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Empty, unless the teacher was built with ``in_checkpoint``."""
        if self.in_checkpoint:
            return super().state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)
        return OrderedDict() if destination is None else destination

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As usual with ``in_checkpoint``; refused without, where the weights come from the constructor."""
        if not self.in_checkpoint:
            raise CheckpointError(
                f"teacher {self.spec.name} is kept out of checkpoints: build it with in_checkpoint=True"
            )
        return super().load_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if not self.in_checkpoint:
            # An owner is being loaded. Modules below find their tensors in this dict: hand them those they have.
            state_dict.update(super().state_dict(prefix=prefix))
        elif any(key.startswith(prefix + "encoder.") for key in state_dict):
            self.random_weights = False
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"{self.spec.name}, weights={'RANDOM' if self.random_weights else self.weights_file}"
