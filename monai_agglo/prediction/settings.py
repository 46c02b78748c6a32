"""Settings of a bundle's segmenter, read from ``configs/inference.json`` without MONAI."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.cine.intensity import fitted_shape, scale_intensity

from .errors import BundleError

__all__ = ["Fit", "Scale", "SegmenterSettings", "read_settings"]

REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)$")
PLAIN = ("LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "PseudonymizeMetad")
"""Preprocessing transforms that change no pixel. A streamed frame does not need them."""


@dataclass(frozen=True)
class Fit:
    """Resizing as :class:`~monai_agglo.data.FitFramesd` does it; same arguments.

    Args:
        size: longer side in pixels; None keeps the frames as they are.
    """

    size: int | None = 512

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of a resized frame."""
        return fitted_shape(rows, columns, self.size)


@dataclass(frozen=True)
class Scale:
    """Intensity scaling as :class:`~monai_agglo.data.ScaleCineIntensityd` does it; same arguments.

    Args:
        low: percentile that becomes 0.
        high: percentile that becomes 1.
    """

    low: float = 0.5
    high: float = 99.5

    def __call__(self, frame: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
        """Scale a frame: float32, the first limit becomes 0 and the second 1, the rest is clipped."""
        return scale_intensity(frame, *limits)


@dataclass(frozen=True)
class SegmenterSettings:
    """Settings of the segmenter in ``inference.json``.

    Args:
        network_def: the network's class and arguments, references resolved.
        steps: preprocessing of the pixels, in order.
        window: frames per call of the network.
        context: further frames on both sides that a network with a temporal shift needs.
        threshold: probability above which a structure is present.
        main_parts: parts below this fraction of the largest part of a structure are removed.
        dtype: autocast type of PyTorch, by name.
    """

    network_def: dict[str, Any]
    steps: tuple[Fit | Scale, ...]
    window: int = 8
    context: int = 0
    threshold: float = 0.5
    main_parts: float = 0.0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.window, int) or self.window < 1 or not isinstance(self.context, int) or self.context < 0:
            raise BundleError(f"window must be at least 1 and context at least 0, not {self.window} and {self.context}")
        for name in ("threshold", "main_parts"):
            number = getattr(self, name)
            if not isinstance(number, (int, float)) or not 0 <= number <= 1:
                raise BundleError(f"{name} must be within 0..1, not {number!r}")

    @property
    def cut(self) -> float:
        """Logit of the threshold."""
        if self.threshold in (0.0, 1.0):
            return -math.inf if self.threshold == 0 else math.inf
        return math.log(self.threshold / (1 - self.threshold))

    @property
    def network_text(self) -> str:
        """The network's definition as canonical JSON, to compare."""
        return json.dumps(self.network_def, sort_keys=True)


def read_settings(folder: Path) -> SegmenterSettings:
    """Read the settings of a bundle.

    Args:
        folder: of the bundle.

    Returns:
        The settings.

    Raises:
        FileNotFoundError: the bundle has no ``configs/inference.json``.
        BundleError: the file is damaged, or its preprocessing or inferer cannot be streamed frame by frame.
    """
    path = folder / "configs" / "inference.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: the bundle has no configs/inference.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder.name}: configs/inference.json is not valid JSON ({error})") from None

    def value(item: Any, where: str) -> Any:
        """``item`` with references to other ids resolved; expressions are refused."""
        for _ in range(20):
            match = REFERENCE.match(item) if isinstance(item, str) else None
            if match is None:
                break
            item = config
            for key in re.split("#|::", match[1]):
                try:
                    item = item[int(key)] if isinstance(item, list) else item[key]
                except (KeyError, IndexError, ValueError, TypeError):
                    raise BundleError(
                        f"{folder.name}: {where} refers to an unknown id {match[1]!r} in inference.json"
                    ) from None
        if isinstance(item, str) and item.startswith(("$", "@")):
            raise BundleError(
                f"{folder.name}: {where} is the expression {item!r} in inference.json, and predict needs a plain "
                "value; use python -m monai.bundle run with its inference.json"
            )
        return item

    def section(name: str) -> dict[str, Any]:
        found = value(config.get(name), name)
        if not isinstance(found, dict) or not isinstance(found.get("_target_"), str):
            raise BundleError(f"{folder.name}: inference.json has no {name!r} with a _target_")
        return found

    network_def = {key: value(item, f"network_def#{key}") for key, item in section("network_def").items()}
    inferer = section("inferer")
    if _class(inferer) != "CineInferer":
        raise BundleError(f"{folder.name}: its inferer is a {_class(inferer)}; predict needs a CineInferer")
    names = ("window", "context", "threshold", "main_parts", "dtype")
    found = {name: value(inferer[name], f"inferer#{name}") for name in names if name in inferer}
    if found.get("threshold", 0.0) is None:
        del found["threshold"]
    return SegmenterSettings(network_def, _steps(folder, section("preprocessing"), value), **found)


def _class(item: dict[str, Any]) -> str:
    return str(item.get("_target_", "")).rpartition(".")[2]


def _steps(folder: Path, chain: dict[str, Any], value: Callable[[Any, str], Any]) -> tuple[Fit | Scale, ...]:
    items = value(chain.get("transforms"), "preprocessing") if _class(chain) == "Compose" else [chain]
    steps: list[Fit | Scale] = []
    for item in items or []:
        item = value(item, "preprocessing")
        kind = _class(item)
        if kind == "FitFramesd":
            steps.append(Fit(value(item.get("size", 512), "preprocessing size")))
        elif kind == "ScaleCineIntensityd":
            ends = {key: value(item[key], f"preprocessing {key}") for key in ("low", "high") if key in item}
            steps.append(Scale(**ends))
        elif kind not in PLAIN:
            raise BundleError(
                f"{folder.name}: its preprocessing has a {kind}, which predict cannot stream; "
                "use python -m monai.bundle run with its inference.json"
            )
    return tuple(steps)
