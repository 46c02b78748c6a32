"""Content hash of frames, the key of the cache, and the index of a source of frames."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from monai_agglo.files import atomic_path
from monai_agglo.networks.teachers import FrameError
from monai_agglo.networks.teachers.preprocess import check_frames

from .store import FeatureCacheError

__all__ = ["FrameKey", "frame_hash", "get_frame", "index_frames"]

logger = logging.getLogger(__name__)


class FrameKey(NamedTuple):
    """Key of a frame in a cache.

    Attributes:
        hash: content hash, see :func:`frame_hash`.
        rows: height of the frame in pixels.
        columns: width of the frame in pixels.
    """

    hash: str
    rows: int
    columns: int


def frame_hash(frame: torch.Tensor) -> str:
    """The content hash of a frame: its size and its values to 16 bits.

    Robust to rounding: 8-bit values scaled on another computer have the same hash.

    Args:
        frame: (1, H, W) or (H, W), floating, in [0, 1].

    Returns:
        32 hexadecimal digits of a SHA-256.
    """
    values = np.asarray(frame.detach().cpu().float().nan_to_num().clamp(0, 1)).reshape(frame.shape[-2:])
    digest = hashlib.sha256(f"{values.shape[0]}x{values.shape[1]} uint16 ".encode())
    digest.update(np.ascontiguousarray(np.round(values * np.float32(65535)).astype("<u2")))
    return digest.hexdigest()[:32]


def get_frame(source: Sequence[Any], index: int) -> torch.Tensor:
    """One frame of a source.

    Args:
        source: items are (1, H, W) or (H, W) tensors or arrays, floating in [0, 1], or dictionaries with such an
            ``image``.
        index: index of the frame.

    Returns:
        (1, H, W).

    Raises:
        FeatureCacheError: if the item has another type or shape.
    """
    item = source[index]
    item = item["image"] if isinstance(item, dict) and "image" in item else item
    if isinstance(item, (torch.Tensor, np.ndarray)):
        frame = torch.as_tensor(np.asarray(item))
        frame = frame[None] if frame.ndim == 2 else frame
        if frame.ndim == 3 and len(frame) == 1:
            return frame
    shape = tuple(getattr(item, "shape", ()))
    raise FeatureCacheError(f"frame {index} must be a (1, H, W) tensor or array, got {type(item).__name__} {shape}")


def index_frames(
    source: Sequence[Any], folder: Path | None = None, on_bad: str = "error", progress: bool = False
) -> list[FrameKey | None]:
    """Hash and check every frame of a source.

    A source with an attribute ``fingerprint`` (a string that changes when its frames do) is read once: the index is
    stored in ``folder`` and shared by processes, ranks and runs.

    Args:
        source: sequence of frames, see :func:`get_frame`.
        folder: folder of the cache; None stores no index.
        on_bad: ``error`` raises on an invalid frame, ``skip`` omits it with a warning.
        progress: show a progress bar.

    Returns:
        One key per frame of the source, None for omitted frames.

    Raises:
        FeatureCacheError: for an invalid frame, or a source without valid frames.
    """
    if on_bad not in ("error", "skip"):
        raise FeatureCacheError(f"on_bad must be error or skip, not {on_bad!r}")
    kept = _kept_index(source, folder)
    if kept is not None and kept.is_file():
        try:
            found = [None if key is None else FrameKey(*key) for key in json.loads(kept.read_text(encoding="utf-8"))]
        except (ValueError, TypeError):
            logger.warning("%s is damaged and is made again", kept)
        else:
            if None not in found or on_bad == "skip":
                return found
    from tqdm import tqdm

    keys: list[FrameKey | None] = []
    for index in tqdm(range(len(source)), desc="reading frames", unit="frame", disable=not progress, delay=2):
        frame = get_frame(source, index)
        try:
            check_frames(frame[None])
        except FrameError as error:
            reason = str(error).replace("frame(s) 0 of the batch", "frames like this one")
            if on_bad == "error" or not frame.is_floating_point():
                skip = " (on_bad='skip' leaves such frames out)" if frame.is_floating_point() else ""
                raise FeatureCacheError(f"frame {index} of the source cannot be used: {reason}{skip}") from error
            keys.append(None)
            continue
        keys.append(FrameKey(frame_hash(frame), *frame.shape[-2:]))
    bad = keys.count(None)
    if bad == len(keys):
        raise FeatureCacheError(f"the source has no frame that can be used; the last one: {reason}")
    if bad:
        logger.warning("%d of %d frames hold nothing to encode and are left out", bad, len(keys))
    if kept is not None:
        with atomic_path(kept) as partial:
            partial.write_text(json.dumps(keys), encoding="utf-8")
    return keys


def _kept_index(source: Sequence[Any], folder: Path | None) -> Path | None:
    fingerprint = getattr(source, "fingerprint", None)
    if folder is None or not isinstance(fingerprint, str):
        return None
    return folder / "sources" / f"{hashlib.sha256(fingerprint.encode()).hexdigest()[:16]}.json"
