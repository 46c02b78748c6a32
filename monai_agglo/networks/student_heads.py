"""A student in training: its encoder and one projector per teacher, dropped on export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from .alignment import GridMove
from .projectors import make_projector
from .student import StudentEncoder, level_affine

__all__ = ["StudentOutput", "StudentWithHeads"]

PLACES = ("teacher", "student")


class StudentOutput(NamedTuple):
    """Output of a student in training.

    Attributes:
        shared: (B, C, h, w), the fused map, input of all projectors.
        predictions: by teacher, (B, k, h_i, w_i) on the teacher's grid.
    """

    shared: torch.Tensor
    predictions: dict[str, torch.Tensor]


class StudentWithHeads(nn.Module):
    """A student and its projectors.

    Args:
        student: the encoder.
        teachers: stored shape (k, rows, columns) of each teacher's maps, by name.
        projector: one of :data:`~.projectors.PROJECTORS`.
        hidden: hidden channels of the projectors; their default if None.
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
        self.shapes = {name: (int(k), int(h), int(w)) for name, (k, h, w) in teachers.items()}
        self.project_at = project_at
        self._known: dict[Any, GridMove] = {}
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
        """Encode, resample to every teacher's grid, project.

        Args:
            image: (B, 1, S, S) in [0, 1].
            image_affine: (B, 3, 3), pixel of ``image`` to frame.
            affines: by teacher, (B, 3, 3), cell of its stored map to frame.

        Returns:
            The fused map and the predictions in each teacher's normalised space.
        """
        return self.predict(image, self.moves(image, image_affine, affines))

    def moves(
        self, image: torch.Tensor, image_affine: torch.Tensor, affines: Mapping[str, torch.Tensor]
    ) -> dict[str, list[GridMove]]:
        """How maps come to every teacher's grid.

        Args:
            image: see :meth:`forward`; only its shape and device are read.
            image_affine: see :meth:`forward`.
            affines: see :meth:`forward`.

        Returns:
            By teacher, the moves of the fused map and, where the projector reads them before they are projected, of
            the backbone's levels.
        """
        sizes = self.student.map_sizes(image.shape[2], image.shape[3])
        strides = (self.student.stride, *self.student.level_strides)
        count = len(sizes) if self.reads_levels and self.project_at == "teacher" else 1
        maps = [(level_affine(image_affine, stride), size) for stride, size in zip(strides[:count], sizes)]
        return {
            name: [
                GridMove.between(
                    here, affines[name], size, self.shapes[name][1:], len(image), image.device, self._known
                )
                for here, size in maps
            ]
            for name in self.projectors
        }  # fmt: skip

    def predict(self, image: torch.Tensor, moves: Mapping[str, Sequence[GridMove]]) -> StudentOutput:
        """Encode, move, project.

        Args:
            image: see :meth:`forward`.
            moves: see :meth:`moves`.

        Returns:
            See :meth:`forward`.
        """
        shared, levels = self.student.encode(image)
        predictions = {}
        for name, head in self.projectors.items():
            if self.project_at == "student":
                (move,) = moves[name]
                predictions[name] = move(head(shared, levels) if self.reads_levels else head(shared))
                continue
            # as many moves as maps that the head reads
            features, *others = (move(one) for move, one in zip(moves[name], [shared, *levels]))
            predictions[name] = head(features, others) if self.reads_levels else head(features)
        return StudentOutput(shared, predictions)
