"""A distilled student as the teacher of a smaller one: the second half of the proxy route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .base import Teacher
from .checkpoint import Layout
from .spec import TeacherSpec

__all__ = ["StudentTeacher"]

GREY = 128 / 255  # pads a student's square: taken off before zeros are put around, and put back


class StudentTeacher(Teacher):
    """The fused map of a student; the card beside its ``.safetensors`` file says which, and whose licences go with it.

    Raises:
        FileNotFoundError: without the file or its card.
        CheckpointError: if the file is of another student than the card.
    """

    layouts = (Layout("student", r"backbone\.", ((r"(.+)", r"encoder.\1"),)),)

    def __init__(self, weights: str | Path, in_checkpoint: bool = False) -> None:
        card = Path(weights).with_suffix(".json")
        if not Path(weights).is_file() or not card.is_file():
            raise FileNotFoundError(f"there is no student {weights} with its card {card.name}: distil the proxy first")
        facts = json.loads(card.read_text(encoding="utf-8"))
        self.student: dict[str, Any] = facts["student"]
        self.spec = _spec(facts)  # type: ignore[misc]
        super().__init__(weights, in_checkpoint=in_checkpoint)
        self.random_weights = bool(facts.get("random"))  # passed on to students distilled from it

    def build_encoder(self) -> nn.Module:
        from ..student import StudentEncoder

        class Mapped(StudentEncoder):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return super().forward(image[:, :1] + GREY)

        return Mapped(**self.student)


def _spec(facts: dict[str, Any]) -> TeacherSpec:
    student, size, teachers = facts["student"], int(facts.get("image_size", 256)), facts.get("teachers") or []
    licences = [t["licence"] if isinstance(t, dict) else teachers[t] for t in teachers]
    return TeacherSpec(
        name="proxy", title=f"Distilled {student['backbone']}", architecture=student["backbone"], input_size=size,
        parameters=int(facts["parameters"]), channels=student["out_channels"], grid=size // student["stride"],
        geometry="letterbox", resample="cv2_area", mean=(GREY,) * 3, std=(1.0,) * 3, folder="none", files=(),
        licence=", ".join(dict.fromkeys(licences)) or "not recorded", commercial="As its teachers do.", citation="none",
    )  # fmt: skip
