"""The networks of the teacher bundles: a teacher as one tensor in, one tensor out, its weights in ``model.pt``."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from .sam2_prompts import Sam2PromptSegmenter
from .sam_decoder import PromptSegmenter, SamDecoder
from .teachers import Teacher, create_teacher

__all__ = ["PromptNetwork", "TeacherNetwork", "bundle_network"]

logger = logging.getLogger(__name__)

PROMPTED = ("medsam", "medsam2", "litemedsam", "mobilesam")
"""Teachers with a prompt encoder and mask decoder in their checkpoints."""
NOTHING = -32.0
"""Logit of frames without a prompt."""


def bundle_network(name: str, weights: str | Path | None = None) -> TeacherNetwork:
    """The network of a teacher's bundle with its published weights, the source of ``models/model.pt``.

    Args:
        name: of the teacher.
        weights: the published checkpoint; searched in the weights folders if None.

    Returns:
        A :class:`PromptNetwork` for the SAM family, else a :class:`TeacherNetwork`.

    Raises:
        WeightsMissingError: if there are no weights.
        CheckpointError: if they do not fit.
    """
    teacher = create_teacher(name, weights, in_checkpoint=True)
    if name not in PROMPTED:
        return TeacherNetwork(name, teacher)
    return PromptNetwork(name, teacher)


class TeacherNetwork(nn.Module):
    """A teacher with its patch features as a plain tensor.

    Args:
        name: of the teacher, for example ``"rad_dino"``.
        teacher: an existing teacher. By default one is built with random weights, into which ``model.pt`` is loaded;
            a forward pass before that logs a warning.
    """

    def __init__(self, name: str, teacher: Teacher | None = None) -> None:
        super().__init__()
        self.teacher = teacher or create_teacher(name, random_weights=True, in_checkpoint=True)
        self._warned = False

    @property
    def random_weights(self) -> bool:
        """Whether no weights have been loaded yet."""
        return self.teacher.random_weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode frames.

        Args:
            x: frames (B, 1, H, W) in [0, 1], dark barium.

        Returns:
            Features (B, C, grid, grid) on the teacher's own grid; ``self.teacher(x)`` gives their place in the frame.

        Raises:
            FrameError: see :class:`~.teachers.Teacher`.
        """
        self._warn()
        return self.teacher(x.as_subclass(torch.Tensor)).features

    def _warn(self) -> None:
        if self.random_weights and not self._warned:
            logger.warning("%s runs with RANDOM weights: the result means nothing", self.teacher.spec.title)
            self._warned = True


class PromptNetwork(TeacherNetwork):
    """A model of the SAM family with prompts as input channels, for MONAI's inferers.

    :class:`monai_agglo.data.AddPromptGuidanced` makes the channels. Frames are independent; those without
    a prompt are skipped.

    Args:
        name: of the teacher: ``"medsam"``, ``"medsam2"``, ``"litemedsam"`` or ``"mobilesam"``.
        teacher: see :class:`TeacherNetwork`; the decoder is read from the same checkpoint.

    Raises:
        ValueError: for a teacher that takes no prompts.
    """

    def __init__(self, name: str, teacher: Teacher | None = None) -> None:
        if name not in PROMPTED:
            raise ValueError(f"teacher {name} takes no prompts; {', '.join(PROMPTED)} do")
        super().__init__(name, teacher)
        spec = self.teacher.spec
        if name != "medsam2":  # its decoder is part of the teacher's weights
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.decoder = SamDecoder(spec.input_size, spec.grid, self.teacher.weights_file)
            self.decoder.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Segment the prompted objects.

        Args:
            x: (B, 3, H, W, T): frames in [0, 1]; the box, 1 inside and 0 outside; the points, 1 on the object and -1
                off it, 0 elsewhere. One object, so at most one box, per frame.

        Returns:
            Logits (B, 1, H, W, T), above 0 inside the object; -32 throughout a frame without a prompt.

        Raises:
            ValueError: for an input of another shape.
            FrameError: see :class:`~.teachers.Teacher`.
        """
        if x.ndim != 5 or x.shape[1] != 3:
            raise ValueError(f"expected (B, 3, H, W, T): image, box and points; got {tuple(x.shape)}")
        self._warn()
        x = x.as_subclass(torch.Tensor)
        prompted = ((x[:, 1] > 0.5) | (x[:, 2].abs() > 0.5)).any(2).any(1)
        logits = x.new_full((x.shape[0], 1, *x.shape[2:]), NOTHING)
        segmenter = self._segmenter()
        for b, t in prompted.nonzero().tolist():
            frame, box, points = x[b, :, :, :, t]
            logits[b, :, :, :, t] = segmenter(frame[None, None], _box(box), _points(points))[0]
        return logits

    def _segmenter(self) -> nn.Module:
        # Not a member: it would duplicate all weights in the state dict.
        if hasattr(self, "decoder"):
            return PromptSegmenter(self.teacher, self.decoder)
        return Sam2PromptSegmenter(self.teacher)


def _box(channel: torch.Tensor) -> torch.Tensor | None:
    """(1, 4): x0, y0, x1, y1 of the first and last pixels inside."""
    rows, columns = (channel > 0.5).nonzero(as_tuple=True)
    if not len(rows):
        return None
    return torch.stack([columns.min(), rows.min(), columns.max(), rows.max()])[None].to(channel.dtype)


def _points(channel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Coordinates (1, P, 2) as x, y and labels (1, P)."""
    where = (channel.abs() > 0.5).nonzero()
    if not len(where):
        return None
    labels = (channel[where[:, 0], where[:, 1]] > 0).to(torch.int64)
    return where.flip(1)[None].to(channel.dtype), labels[None]
