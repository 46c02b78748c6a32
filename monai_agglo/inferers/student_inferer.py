"""Features of a student for the frames of a cine."""

from __future__ import annotations

import torch
from monai.inferers import Inferer

from monai_agglo.data.student_dataset import fit_to_square
from monai_agglo.pictures.contact_sheet import pick_frames

from .precision import autocast, precision_dtype

__all__ = ["StudentFeatureInferer"]


class StudentFeatureInferer(Inferer):
    """Fits frames into the student's square, as in training, and gives its features.

    Args:
        size: side of the square, in pixels.
        frames: at most this many frames of a cine, evenly spread.
        dtype: autocast type, see :class:`~.cine_inferer.AutocastInferer`.

    Raises:
        ValueError: for no frames, or an unknown type.
    """

    def __init__(self, size: int = 256, frames: int = 8, dtype: str = "float32") -> None:
        super().__init__()
        if frames < 1:
            raise ValueError(f"frames must be at least 1, not {frames}")
        self.size = size
        self.frames = frames
        self.dtype = precision_dtype(dtype)

    def __call__(self, inputs: torch.Tensor, network, *args, **kwargs) -> torch.Tensor:
        """Encode.

        Args:
            inputs: one cine (1, 1, H, W, T) in [0, 1].
            network: a :class:`monai_agglo.networks.StudentEncoder`.
            args: not used.
            kwargs: not used.

        Returns:
            (1, C, h, w, n) float32, n = min(T, frames).
        """
        cine = inputs.as_subclass(torch.Tensor)[0, 0].cpu()
        chosen = pick_frames(cine.shape[-1], self.frames)
        squares = [torch.from_numpy(fit_to_square(cine[..., t].numpy(), self.size)[0]) for t in chosen]
        maps = []
        for square in squares:
            image = (square.float() / 255)[None, None].to(inputs.device)
            with autocast(image, self.dtype):
                maps.append(network(image).float())
        return torch.stack(maps, -1)
