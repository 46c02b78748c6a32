"""Compared encoders: our students and their alternatives, at any input size."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .counting import count
from .worker import Case

__all__ = ["OTHERS", "OURS", "SIZES", "STUDENTS", "export", "image_for", "make_eager", "make_encoder"]

SIZES = (256, 512, 1024)
STUDENTS = ("efficientvit_b0", "repvit_m0_9", "tiny_vit_5m_224")
"""Our students; the first is the encoder of ``vfss_seg``."""
OURS = STUDENTS[0]
OURS_AT = 512
"""Input size of ours in the comparison with others at their own, pixels."""


@dataclass(frozen=True)
class Other:
    """A third-party encoder.

    Args:
        own: native input size, pixels.
        multiple: input sizes are multiples of this.
    """

    own: int
    multiple: int = 1

    def sizes(self) -> tuple[int, ...]:
        """Supported sizes nearest to :data:`SIZES`, and the native size."""
        near = {self.own if abs(self.own - size) < 16 else size // self.multiple * self.multiple for size in SIZES}
        return tuple(sorted({*near, self.own}))


OTHERS = {
    "litemedsam": Other(256),
    "mobilesam": Other(1024),
    "medsam": Other(1024),
    "medsam2": Other(512),
    "rad_dino": Other(518, 14),
}
"""By teacher name; ``medsam2`` is SAM 2.1 Hiera-T."""


def image_for(name: str, size: int) -> torch.Tensor:
    """A random input image, (1, 1 or 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 1 if name in STUDENTS else 3, size, size, generator=generator)


def make_encoder(name: str, size: int) -> tuple[nn.Module, str]:
    """An encoder in eval mode.

    Args:
        name: of :data:`STUDENTS` or :data:`OTHERS`.
        size: side of its square input, pixels.

    Returns:
        The encoder and the origin of its weights (no influence on speed).
    """
    if name in STUDENTS:
        return _student(name)
    from monai_agglo.networks.teachers import create_teacher, find_weights, teacher_class

    spec = teacher_class(name).spec
    if size != spec.input_size:
        return _SCALABLE[name](size).eval(), "random"
    real = find_weights(spec) is not None
    return create_teacher(name, random_weights=not real).encoder.eval(), "published" if real else "random"


def _student(name: str) -> tuple[nn.Module, str]:
    from monai_agglo.networks.student import StudentEncoder

    student = StudentEncoder(name).eval()
    if name != OURS:
        return student, "random"
    from monai_agglo.bundle import find_bundle

    state = torch.load(find_bundle("vfss_seg") / "models" / "model.pt", map_location="cpu", weights_only=True)
    own = {key: value for key, value in state.items() if key.startswith("encoder.")}
    student.load_state_dict(own)
    return student, "vfss_seg"


def _tiny_vit(full_resolution: bool) -> Callable[[int], nn.Module]:
    def make(size: int) -> nn.Module:
        from monai_agglo.networks.teachers.tiny_vit import TinyVitNeck

        return TinyVitNeck(full_resolution)  # takes any size

    return make


def _sam(size: int) -> nn.Module:
    from monai_agglo.networks.teachers.sam import sam_vit_b

    return sam_vit_b(size)


def _hiera(size: int) -> nn.Module:
    from monai_agglo.networks.teachers.medsam2 import Sam2Embedding

    return Sam2Embedding(size)


def _dino(size: int) -> nn.Module:
    from monai_agglo.networks.teachers.dinov2 import Dinov2Patches

    network: Any = Dinov2Patches("vit_base_patch14_dinov2")
    network.vit.set_input_size(img_size=size)
    return network


_SCALABLE: dict[str, Callable[[int], nn.Module]] = {
    "litemedsam": _tiny_vit(True),
    "mobilesam": _tiny_vit(False),
    "medsam": _sam,
    "medsam2": _hiera,
    "rad_dino": _dino,
}


def make_eager(name: str, cases: list[list[int]], most_gmacs: float) -> dict[str, Case]:
    """An encoder in PyTorch, eager, float32.

    Args:
        name: name of the encoder.
        cases: pairs (size, threads).
        most_gmacs: larger sizes are skipped, except the native one.

    Returns:
        The cases, by ``size@threads``.
    """
    found: dict[str, Case] = {}
    calls: dict[int, tuple[Callable[[], None], dict[str, Any]]] = {}
    for size in sorted({size for size, _ in cases}):
        network, weights = make_encoder(name, size)
        image = image_for(name, size)
        facts = count(copy.deepcopy(network).to("meta"), image.to("meta")) | {"weights": weights}
        if facts["gmacs"] <= most_gmacs or (name in OTHERS and size == OTHERS[name].own):
            calls[size] = (_forward(network, image), facts)
    for size, threads in cases:
        if size in calls:
            call, facts = calls[size]
            found[f"{size}@{threads}"] = Case(call, 1, threads, dict(facts))
    return found


def _forward(network: nn.Module, image: torch.Tensor) -> Callable[[], None]:
    @torch.inference_mode()
    def call() -> None:
        network(image)

    return call


def export(name: str, size: int, path: str) -> dict[str, Case]:
    """Export an encoder as ONNX unless the file exists.

    Args:
        name: name of the encoder.
        size: side of the input, fixed in the file.
        path: the file.

    Returns:
        One case.
    """

    def write() -> None:
        from monai_agglo.files import atomic_path

        if Path(path).exists():
            return
        network, _ = make_encoder(name, size)
        with atomic_path(path) as partial:
            torch.onnx.export(network, (image_for(name, size),), str(partial), input_names=["image"], dynamo=False)

    return {"export": Case(write, once=True)}
