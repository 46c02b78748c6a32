"""Prompts (boxes and points) of the data dictionary as additional channels of the image.

The inferers of MONAI and MONAI Label pass a single tensor to the network. Prompts of a request are therefore drawn into
channels during preprocessing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor

__all__ = ["AddPromptGuidanced"]


class AddPromptGuidanced(MapTransform):
    """Add two channels to an image: the box (1 inside, 0 outside) and the points (1 on the object, -1 off it).

    Coordinates are (x, y) = (column, row) in pixels of the image as loaded, pixel centres at whole numbers, the box as
    (x0, y0, x1, y1), corners included. A further number is the frame, counted from 0; the default is ``frame`` of the
    data; without both the image must have one frame. MONAI Label sends ``foreground`` and ``background`` points in this
    order. Do not resize after this transform: points are single pixels.

    Args:
        keys: images (1, H, W, T).
        box: key of the box, or of a list of boxes on different frames.
        foreground: key of the list of points on the object.
        background: key of the list of points off the object.
        frame: key of the default frame of the prompts.
        allow_missing_keys: skip absent images.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        box: str = "box",
        foreground: str = "foreground",
        background: str = "background",
        frame: str = "frame",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.box = box
        self.foreground = foreground
        self.background = background
        self.frame = frame

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the channels.

        Args:
            data: dictionary with images and prompts.

        Returns:
            A shallow copy with images (3, H, W, T) float32.

        Raises:
            ValueError: without any prompt, or for a prompt outside the image.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            image = convert_to_tensor(d[key], track_meta=True)
            if image.ndim != 4 or image.shape[0] != 1:
                raise ValueError(f"{key} must be (1, H, W, T) to take prompts, not {tuple(image.shape)}")
            channels = self._channels(d, tuple(image.shape[1:])).to(image.device)
            both = torch.cat([image.as_tensor().to(torch.float32), channels])
            d[key] = MetaTensor(both, meta=image.meta, applied_operations=image.applied_operations)
        return d

    def _channels(self, data: Mapping[Hashable, Any], shape: tuple[int, int, int]) -> torch.Tensor:
        channels = torch.zeros(2, *shape)
        default = data.get(self.frame)
        boxes, boxed = _listed(data.get(self.box), self.box), set()
        for box in boxes:
            x0, y0, x1, y1, t = _numbers(box, 4, self.box, shape, default)
            if x1 < x0 or y1 < y0:
                raise ValueError(f"box {list(box)}: give it as x0, y0, x1, y1 with x0 <= x1 and y0 <= y1")
            if x1 < 0 or y1 < 0 or x0 >= shape[1] or y0 >= shape[0]:
                raise ValueError(f"box {list(box)} lies outside the image of {shape[1]} x {shape[0]} pixels")
            if t in boxed:
                raise ValueError(f"frame {t} has more than one box: prompt one object at a time")
            boxed.add(t)
            channels[0, max(0, y0) : y1 + 1, max(0, x0) : x1 + 1, t] = 1
        count = len(boxes)
        for name, value in ((self.foreground, 1.0), (self.background, -1.0)):
            for point in _listed(data.get(name), name):
                x, y, t = _numbers(point, 2, name, shape, default)
                if not (0 <= x < shape[1] and 0 <= y < shape[0]):
                    raise ValueError(
                        f"{name} point {list(point)} lies outside the image of {shape[1]} x {shape[0]} pixels"
                    )
                if channels[1, y, x, t] == -value:
                    raise ValueError(f"point {list(point)} is foreground and background at once")
                channels[1, y, x, t] = value
                count += 1
        if not count:
            raise ValueError(
                f"nothing is prompted: give {self.box} as [x0, y0, x1, y1] or {self.foreground} as [[x, y], ...], "
                "in pixels"
            )
        return channels


def _listed(value: Any, name: str) -> list[Sequence[float]]:
    """Zero, one or several prompts as a list."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or (isinstance(value, Sequence) and not len(value)):
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{name} must be a list of numbers, not {value!r}")
    return list(value) if isinstance(value[0], Sequence) else [value]


def _numbers(prompt: Sequence[float], count: int, name: str, shape: tuple[int, int, int], default: Any) -> list[int]:
    """Integer pixel coordinates and frame index."""
    good = isinstance(prompt, Sequence) and len(prompt) in (count, count + 1)
    if not good or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in prompt):
        what = "x0, y0, x1, y1" if count == 4 else "x, y"
        raise ValueError(f"{name} {prompt!r}: give numbers {what} in pixels, and the frame after them")
    frame = prompt[count] if len(prompt) > count else default
    if frame is None and shape[2] > 1:
        raise ValueError(
            f"{name} {list(prompt)}: on which of the {shape[2]} frames? Give the frame as a further number"
        )
    frame = 0 if frame is None else frame
    if frame != int(frame) or not 0 <= frame < shape[2]:
        raise ValueError(f"{name} {list(prompt)}: there is no frame {frame}, the image has 0 to {shape[2] - 1}")
    return [*(math.floor(v + 0.5) for v in prompt[:count]), int(frame)]
