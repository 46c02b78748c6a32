"""Small random-weight stand-ins for dry runs of a distillation on any computer."""

from __future__ import annotations

from typing import Any

from torch import nn

from .base import Teacher
from .checkpoint import Layout
from .spec import TeacherSpec

__all__ = ["RANDOM_TEACHERS", "RandomCoarse", "RandomFine"]

RANDOM_TEACHERS = (
    "monai_agglo.networks.teachers.small:RandomFine",
    "monai_agglo.networks.teachers.small:RandomCoarse",
)
"""For ``create_teacher(name, random_weights=True)``. They are not in the registry of real teachers."""

_COMMON: dict[str, Any] = {
    "architecture": "three convolutions with random weights",
    "resample": "cv2_area",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "licence": "Apache-2.0",
    "commercial": "Yes, but its features mean nothing.",
    "folder": "none",
    "files": (),
    "citation": "none",
}


class RandomFine(Teacher):
    """64 features on 32 x 32 cells of the letterboxed frame, 128 px."""

    spec = TeacherSpec(
        name="random_fine", title="Random fine stand-in", parameters=12_384, input_size=128, channels=64, grid=32,
        geometry="letterbox", **_COMMON,
    )  # fmt: skip
    layouts = (Layout("plain", r"\d\.", ((r"(.+)", r"\1"),)),)

    def build_encoder(self) -> nn.Module:
        return _convolutions(self.spec.channels, 4)


class RandomCoarse(Teacher):
    """96 features on 7 x 7 cells of the padded frame, 112 px."""

    spec = TeacherSpec(
        name="random_coarse", title="Random coarse stand-in", parameters=27_776, input_size=112, channels=96, grid=7,
        geometry="pad_square", **_COMMON,
    )  # fmt: skip
    layouts = RandomFine.layouts

    def build_encoder(self) -> nn.Module:
        return _convolutions(self.spec.channels, 16)


def _convolutions(channels: int, stride: int) -> nn.Module:
    first = min(stride, 4)
    return nn.Sequential(
        nn.Conv2d(3, 16, first, first), nn.GELU(), nn.Conv2d(16, 16, 3, padding=1), nn.GELU(),
        nn.Conv2d(16, channels, stride // first if stride > first else 3, stride // first,
                  padding=0 if stride > first else 1),
    )  # fmt: skip
