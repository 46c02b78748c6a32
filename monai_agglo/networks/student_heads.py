"""A student in training: its encoder and one projector per teacher, which is dropped when the student is exported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from .alignment import GridMove, to_teacher_grid
from .projectors import make_projector
from .student import StudentEncoder, level_affine

__all__ = ["StudentOutput", "StudentWithHeads"]

PLACES = ("teacher", "student")


class StudentOutput(NamedTuple):
    """What a student in training gives.

    Attributes:
        shared: (B, C, h, w), the fused map that all projectors read.
        predictions: by teacher, (B, k, h_i, w_i) on the teacher's grid.
    """

    shared: torch.Tensor
    predictions: dict[str, torch.Tensor]


class StudentWithHeads(nn.Module):
    """A student and its projectors.

    Args:
        student: the encoder that is trained and kept.
        teachers: stored shape (k, rows, columns) of each teacher's maps, by name.
        projector: one of :data:`~.projectors.PROJECTORS`.
        hidden: hidden channels of the projectors; their default when None.
        project_at: ``teacher`` resamples the fused map to the teacher's grid and projects there, ``student`` projects
            every cell of the student and resamples the result: more detail for coarse teachers, and slower.

    Raises:
        ValueError: for an unknown projector or place.
    """

    def __init__(
        self,
        student: StudentEncoder,
        teachers: Mapping[str, tuple[int, int, int]],
        projector: str = "mlp",
        hidden: int | None = None,
        project_at: str = "teacher",
    ) -> None:
        super().__init__()
        if project_at not in PLACES:
            raise ValueError(f"project_at must be one of {', '.join(PLACES)}, not {project_at!r}")
        self.student = student
        self.shapes = {name: tuple(int(n) for n in shape) for name, shape in teachers.items()}
        self.project_at = project_at
        self.moves: dict[Any, GridMove] = {}
        self.reads_levels = projector == "ladder"
        levels: Any = student.level_channels if self.reads_levels else ()
        self.projectors = nn.ModuleDict(
            {
                name: make_projector(projector, student.out_channels, shape[0], hidden, levels)
                for name, shape in self.shapes.items()
            }
        )
        for head in self.projectors.values():
            head.to(memory_format=torch.channels_last)

    def forward(
        self, image: torch.Tensor, image_affine: torch.Tensor, affines: Mapping[str, torch.Tensor]
    ) -> StudentOutput:
        """Encode, bring to every teacher's grid, project.

        Args:
            image: (B, 1, S, S) in [0, 1].
            image_affine: (B, 3, 3), pixel of ``image`` to frame.
            affines: by teacher, (B, 3, 3), cell of its stored map to frame.

        Returns:
            The fused map and the predictions in each teacher's normalised space.
        """
        shared, levels = self.student.encode(image)
        return StudentOutput(shared, self.project(shared, levels, image_affine, affines))

    def project(
        self,
        shared: torch.Tensor,
        levels: list[torch.Tensor],
        image_affine: torch.Tensor,
        affines: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """The heads alone; see :meth:`forward`.

        Args:
            shared: (B, C, h, w).
            levels: maps of the backbone's used levels.
            image_affine: (B, 3, 3).
            affines: by teacher, (B, 3, 3).

        Returns:
            Predictions by teacher.
        """
        here = level_affine(image_affine, self.student.stride)
        predictions = {}
        for name, head in self.projectors.items():
            there, grid = affines[name], (self.shapes[name][1], self.shapes[name][2])
            if self.project_at == "student":
                projected = head(shared, levels) if self.reads_levels else head(shared)
                predictions[name] = to_teacher_grid(projected, here, there, grid, self.moves)
                continue
            features = to_teacher_grid(shared, here, there, grid, self.moves)
            if self.reads_levels:
                strides = self.student.level_strides
                moved = [
                    to_teacher_grid(level, level_affine(image_affine, stride), there, grid, self.moves)
                    for level, stride in zip(levels, strides)
                ]
                predictions[name] = head(features, moved)
            else:
                predictions[name] = head(features)
        return predictions
