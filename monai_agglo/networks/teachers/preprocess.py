"""From frames in [0, 1] to the pixels a teacher was trained on, and the checks at the door."""

from __future__ import annotations

import torch

from .geometry import FrameGrid
from .resample import resize_grey
from .spec import TeacherSpec

__all__ = ["FrameError", "MAX_SIDE", "MIN_SIDE", "check_frames", "preprocess"]

MIN_SIDE, MAX_SIDE = 16, 8192


class FrameError(ValueError):
    """Frames that no teacher can use.

    Attributes:
        frames: indices of the frames at fault in the batch, empty if the whole batch is.
    """

    def __init__(self, message: str, frames: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.frames = frames


def check_frames(frames: torch.Tensor) -> None:
    """Refuse what would give features that mean nothing.

    Args:
        frames: (B, 1, H, W), floating, in [0, 1].

    Raises:
        FrameError: with one sentence that names the fault and the remedy.
    """
    if not isinstance(frames, torch.Tensor) or frames.ndim != 4 or frames.shape[1] != 1:
        shape = tuple(getattr(frames, "shape", ()))
        raise FrameError(f"frames must be a tensor (B, 1, H, W), got {type(frames).__name__} of shape {shape}")
    if not frames.is_floating_point():
        raise FrameError(
            f"frames are {str(frames.dtype).removeprefix('torch.')}; scale them to floating point in [0, 1] first, "
            "for example with monai_agglo.data.ScaleCineIntensityd"
        )
    rows, columns = frames.shape[-2:]
    if min(rows, columns) < MIN_SIDE:
        raise FrameError(f"frames of {rows} x {columns} pixels are too small: the least side is {MIN_SIDE}")
    if max(rows, columns) > MAX_SIDE:
        raise FrameError(f"frames of {rows} x {columns} pixels are too large: scale them to at most {MAX_SIDE} a side")
    flat = frames.detach().flatten(1)
    low, high = flat.amin(1).float(), flat.amax(1).float()
    _refuse(~(low + high).isfinite(), "hold NaN or infinite values: repair or leave them out")
    _refuse((low < -1e-4) | (high > 1 + 1e-4), "have values outside [0, 1]: scale the intensities first")
    _refuse(high - low < 1 / 510, "are of one colour: they hold nothing to encode, leave them out")


def _refuse(fault: torch.Tensor, what: str) -> None:
    if fault.any():
        where = tuple(fault.nonzero().flatten().tolist())
        names = ", ".join(map(str, where[:5])) + (", ..." if len(where) > 5 else "")
        raise FrameError(f"frame(s) {names} of the batch {what}", where)


def preprocess(frames: torch.Tensor, spec: TeacherSpec) -> tuple[torch.Tensor, FrameGrid]:
    """Preprocess as the teacher's authors do, including the 8 bits they read their images in.

    Args:
        frames: (B, 1, H, W) in [0, 1].
        spec: the teacher's data sheet.

    Returns:
        Pixels (B, 3, input_size, input_size) float32, and how the frames lie in them.

    Raises:
        FrameError: see :func:`check_frames`.
    """
    check_frames(frames)
    fit = FrameGrid.fit(tuple(frames.shape[-2:]), spec.geometry, spec.input_size, spec.min_side)
    frames = frames.detach().float().clamp(0, 1)
    if spec.stretch:
        low, high = frames.amin((1, 2, 3), keepdim=True), frames.amax((1, 2, 3), keepdim=True)
        grey = torch.floor((frames - low) / (high - low) * 255)
    else:
        grey = torch.round(frames * 255)
    grey = resize_grey(fit.pad(grey), fit.content, spec.resample)
    if spec.min_max:
        low, high = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
        pixels = ((grey - low) / (high - low).clamp(min=1e-8)).expand(-1, 3, -1, -1)
    else:
        mean, std = (grey.new_tensor(v).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
        pixels = (grey / 255 - mean) / std
    return fit.fill(pixels).contiguous(), fit
