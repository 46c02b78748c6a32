"""The ``cache`` command: teacher features of a file or folder of cines and images."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_agglo.cine.search import Case, find_cases
from monai_agglo.data import CineFrames, CineReader, FitFramesd, ScaleCineIntensityd
from monai_agglo.networks.teachers import create_teacher

from .build import build_feature_cache
from .cache import FeatureCache
from .store import FeatureCacheError
from .view import FeatureView

__all__ = ["CacheReport", "build_cache", "describe_cache"]


@dataclass(frozen=True)
class CacheReport:
    """Content of a cache.

    Args:
        path: its folder.
        frames: number of frames common to all teachers.
        teachers: :meth:`monai_agglo.data.FeatureCache.describe` of each.
        damaged: one sentence per damaged entry, if checked.
    """

    path: str
    frames: int
    teachers: list[dict[str, Any]]
    damaged: list[str]

    @property
    def exit_code(self) -> int:
        """1 if an entry is damaged."""
        return int(bool(self.damaged))

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.frames} frames"]
        for facts in self.teachers:
            kept = ""
            if facts["components"]:
                kept = f", {facts['components']} components keep {facts['retained_variance']:.1%} of the variance"
            lines.append(
                f"  {facts['name']}{' (RANDOM WEIGHTS)' if facts['teacher']['random_weights'] else ''}: "
                f"{' x '.join(map(str, facts['shape']))} {facts['precision']}, {facts['bytes'] / 1e6:.1f} MB, "
                f"least cosine to the live view {facts['cosine_min']:.5f}{kept}; weights {facts['weights_hash']}"
            )
        return "\n".join([*lines, *self.damaged])


def build_cache(
    folder: str | os.PathLike,
    source: str | os.PathLike | None,
    teachers: list[str] | None,
    precision: str = "int8",
    native: bool = False,
    size: int = 512,
    processes: int = 1,
    device: str | None = None,
    random_weights: bool = False,
    progress: bool = False,
) -> FeatureCache:
    """Build a cache from files; invalid frames (constant, NaN) are omitted.

    Args:
        folder: folder of the cache.
        source: a file, or a folder, searched recursively.
        teachers: names of the teachers.
        precision: ``int8`` or ``fp16``.
        native: keep the teachers' own grids and channels.
        size: longer side of the scaled frames, in pixels.
        processes: number of encoding processes.
        device: device of the teachers.
        random_weights: use random weights; recorded in the cache.
        progress: show size, progress and remaining time.

    Returns:
        The cache, opened.

    Raises:
        FeatureCacheError: if source or teachers are missing, or see :func:`monai_agglo.data.build_feature_cache`.
        ValueError: for a source without readable files, or an unknown teacher.
    """
    if not source or not teachers:
        raise FeatureCacheError("to build a cache give both --source and --teachers")
    live = [create_teacher(name, random_weights=random_weights) for name in teachers]
    view = FeatureView(None, None) if native else FeatureView()
    return build_feature_cache(
        source_frames(source, size), live, folder, precision=precision, view=view, processes=processes, device=device,
        on_bad="skip", progress=progress,
    )  # fmt: skip


def source_frames(source: str | os.PathLike, size: int = 512) -> CineFrames:
    """The frames of a file or folder, scaled to [0, 1] cine by cine, as a source with a fingerprint, indexed once."""
    from monai.data import Dataset
    from monai.transforms import Compose, LoadImaged

    cases = find_cases(source)
    load = Compose(
        [
            LoadImaged("image", reader=CineReader, ensure_channel_first=True),
            FitFramesd("image", size),
            ScaleCineIntensityd("image"),
        ]
    )
    frames = CineFrames(Dataset([{"image": _paths(case)} for case in cases], load))
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for case in cases for path in case.paths]
    frames.fingerprint = hashlib.sha256(json.dumps([size, stamps]).encode()).hexdigest()
    return frames


def _paths(case: Case) -> Any:
    return case.paths[0] if len(case.paths) == 1 else list(case.paths)


def describe_cache(folder: str | os.PathLike, check: bool = False) -> CacheReport:
    """Describe a cache.

    Args:
        folder: folder of the cache.
        check: verify the checksum of every entry.

    Returns:
        The report; its text has one line per teacher.

    Raises:
        FeatureCacheError: if the cache cannot be opened.
    """
    cache = FeatureCache.open(folder)
    facts = [cache.describe(name) for name in cache.teachers]
    return CacheReport(str(Path(folder)), len(cache), facts, list(cache.check()) if check else [])
