"""A student as the image encoder of a SAM teacher's mask decoder, with features in the teacher's own space."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .bundle_networks import PromptNetwork
from .student import StudentEncoder
from .student_file import count_parameters, read_weights, write_weights
from .student_heads import StudentWithHeads
from .teachers import FrameGrid, TeacherFeatures, teacher_class
from .teachers.checkpoint import load_strict
from .teachers.preprocess import check_frames
from .teachers.resample import resize_grey

__all__ = ["StudentForSam", "StudentPromptNetwork"]

FORMAT = "monai_agglo student with a teacher's space"
GREY = 128
"""Padding value of the student's square in 8 bits, as in training."""


class StudentForSam(nn.Module):
    """A student with the interface of a teacher of the SAM family: frames in, features and affine out.

    The fused map is resampled to the teacher's grid and projected there, as in training; ``inverse`` undoes the target
    normalisation (affine for all kinds) as one 1x1 convolution.

    Args:
        teacher: name, ``litemedsam``, ``medsam`` or ``mobilesam``.
        student: options of the :class:`~.student.StudentEncoder`.
        projector: one of :data:`~.projectors.PROJECTORS`, as in the distillation.
        hidden: hidden channels of the projector.
        project_at: see :class:`~.student_heads.StudentWithHeads`.
        size: side of the student's square input, in pixels.

    Attributes:
        options: the arguments above, as plain JSON.
        random_weights: whether the weights are random, or were distilled from random ones.

    Raises:
        ValueError: for an unknown teacher or projector.
    """

    weights_file = None
    """None: the decoder is not in the student's file."""

    def __init__(
        self,
        teacher: str,
        student: dict[str, Any] | None = None,
        projector: str = "mlp",
        hidden: int | None = None,
        project_at: str = "teacher",
        size: int = 256,
    ) -> None:
        super().__init__()
        self.spec = teacher_class(teacher).spec
        encoder = StudentEncoder(**(student or {}))
        self.size = int(size)
        self.options = {
            "teacher": teacher, "student": encoder.options, "projector": projector, "hidden": hidden,
            "project_at": project_at, "size": self.size,
        }  # fmt: skip
        shape = (self.spec.channels, self.spec.grid, self.spec.grid)
        self.heads = StudentWithHeads(encoder, {self.spec.name: shape}, projector, hidden, project_at)
        self.inverse = nn.Conv2d(self.spec.channels, self.spec.channels, 1)
        self.random_weights = True
        self.eval()

    def forward(self, frames: torch.Tensor) -> TeacherFeatures:
        """Encode frames.

        Args:
            frames: (B, 1, H, W) floating in [0, 1], all of one size, dark barium.

        Returns:
            Features (B, C, grid, grid) in the teacher's space, their affine to the frame and the valid-area mask.

        Raises:
            FrameError: for invalid frames.
        """
        check_frames(frames)
        shape, size = (int(frames.shape[2]), int(frames.shape[3])), self.size
        fit = FrameGrid.fit(shape, "letterbox", size)
        square = (fit.fill(_scaled(frames, fit.content) - GREY) + GREY) / 255
        theirs = FrameGrid.fit(shape, self.spec.geometry, self.spec.input_size, self.spec.min_side)
        affine = theirs.affine(self.spec.grid)
        output = self.heads(square.contiguous(), fit.affine(size), {self.spec.name: affine})
        features = self.inverse(output.predictions[self.spec.name].float())
        return TeacherFeatures(features, affine.to(features), theirs.mask(self.spec.grid, features.device))

    def write(self, path: str | os.PathLike, card: dict[str, Any] | None = None) -> Path:
        """Write encoder, projector and inverse to ``NAME.safetensors``, the card beside it.

        Args:
            path: the file.
            card: facts about the student, plain JSON.

        Returns:
            The file.
        """
        encoder = count_parameters(self.heads.student)
        facts = {"format": FORMAT, **self.options, "parameters": encoder, "parameters_in_all": count_parameters(self)}
        return write_weights(path, self.state_dict(), {**facts, **(card or {})})

    @classmethod
    def read(cls, path: str | os.PathLike) -> tuple[StudentForSam, dict[str, Any]]:
        """Read a file of :meth:`write`.

        Args:
            path: the file.

        Returns:
            The student, in evaluation mode, and its card.

        Raises:
            FileNotFoundError: if the file does not exist.
            CheckpointError: for a file of another format.
        """
        state, card = read_weights(path, FORMAT)
        student = cls(**{key: card[key] for key in ("teacher", "student", "projector", "hidden", "project_at", "size")})
        load_strict(student, state, str(path))
        student.random_weights = bool(card.get("random"))
        return student, card


def _scaled(frames: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Round to grey levels and resize as in the student's data set: area averaging down, linear up."""
    grey = frames.detach().float().clamp(0, 1) * 255
    if size[0] < frames.shape[2] or size[1] < frames.shape[3]:
        return resize_grey(grey.round(), size, "cv2_area")
    return F.interpolate(grey, size, mode="bilinear", align_corners=False).round()


class StudentPromptNetwork(PromptNetwork):
    """A student with a SAM teacher's prompts and mask decoder, as one tensor in and one out.

    Args:
        name: teacher of the student's feature space.
        options: further options of :class:`StudentForSam`.

    Raises:
        ValueError: for a teacher without prompts, or with a decoder that reads several feature levels.
    """

    def __init__(self, name: str = "litemedsam", **options: Any) -> None:
        if name == "medsam2":
            raise ValueError("the decoder of medsam2 reads finer features too, which a student has not: use another")
        super().__init__(name, StudentForSam(name, **options))  # type: ignore[arg-type]
