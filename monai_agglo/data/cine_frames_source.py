"""The frames of many cines as one sequence, the source of a feature cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

__all__ = ["CineFrames"]


class CineFrames(Sequence):
    """All frames of all cines of a data set, one after the other.

    Only one cine is kept in memory: read frames in order. The first use loads every cine once to count its frames.

    Args:
        cines: data set with an image (1, H, W, T) in [0, 1] per item.
        key: key of the image.
    """

    def __init__(self, cines: Sequence[Any], key: str = "image") -> None:
        self.cines = cines
        self.key = key
        self._ends: np.ndarray | None = None
        self._loaded: tuple[int, torch.Tensor] | None = None

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, index):
        """A frame.

        Args:
            index: index over all frames; negative from the end.

        Returns:
            (1, H, W).

        Raises:
            IndexError: if out of range.
        """
        index = range(len(self))[index]
        number = int(np.searchsorted(self.ends, index, side="right"))
        start = int(self.ends[number - 1]) if number else 0
        return self._cine(number)[..., index - start].contiguous()

    @property
    def ends(self) -> np.ndarray:
        """Cumulative number of frames per cine."""
        if self._ends is None:
            counts = [self._cine(number).shape[-1] for number in range(len(self.cines))]
            self._ends = np.cumsum(counts, dtype=np.int64)
        return self._ends

    def _cine(self, number: int) -> torch.Tensor:
        if self._loaded is None or self._loaded[0] != number:
            image = torch.as_tensor(self.cines[number][self.key]).as_subclass(torch.Tensor)
            self._loaded = (number, image)
        return self._loaded[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_loaded": None}  # pixels are not pickled
