"""Training data set of a student: square inputs of fixed size and cached teacher features with their geometry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from monai_agglo.data.feature_cache import FeatureCacheError
from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.dataset import FeatureCacheDataset
from monai_agglo.data.feature_cache.frames import get_frame
from monai_agglo.files import atomic_path
from monai_agglo.networks.teachers import FrameGrid, Teacher

from .frame_dataset import _mix
from .frame_window import FrameWindow, checked_zoom

__all__ = ["GREY", "StudentFrameDataset", "fit_to_square"]

GREY = 128
"""Padding value in 8 bits; input scaling maps it to zero, like the padding of a convolution."""
STORE_VERSION = 1
WINDOW = 1
"""Stream of the random windows, independent of the stream of the augmentation."""


def fit_to_square(frame: np.ndarray, size: int) -> tuple[np.ndarray, FrameGrid]:
    """Letterbox a frame: scale its longer side to the square, pad below or to the right.

    Args:
        frame: (H, W) in [0, 1].
        size: side of the square.

    Returns:
        (size, size) uint8, and the geometry of the frame in it.
    """
    fit = FrameGrid.fit((int(frame.shape[0]), int(frame.shape[1])), "letterbox", size)
    rows, columns = fit.content
    smaller = rows < frame.shape[0] or columns < frame.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    scaled = cv2.resize(np.ascontiguousarray(frame, np.float32), (columns, rows), interpolation=method)
    square = np.full((size, size), GREY, np.uint8)
    square[:rows, :columns] = np.round(scaled.clip(0, 1) * 255)
    return square, fit


class StudentFrameDataset(FeatureCacheDataset):
    """Letterboxed frames with the cached features, masks and affines of all teachers.

    A sample is ``{"image": (1, S, S) float32 in [0, 1], "image_affine": (3, 3), "frame": hash, "features": {teacher:
    ...}, "mask": {teacher: (h, w)}, "affine": {teacher: (3, 3)}}``: ``image_affine`` maps pixels of ``image`` to the
    frame, ``affine`` maps cells of a teacher's map to the frame. Samples of frames of different sizes can be batched.

    The squares are written once, in 8 bits, beside the cache and memory-mapped. Augmentation is photometric, plus with
    ``zoom`` a random window (:class:`~.frame_window.FrameWindow`): cached features are valid for unaugmented frames
    only, and teacher cells outside the window are masked. A sample depends only on (``seed``, epoch, index), see
    :class:`~.samplers.EpochBatchSampler`.

    Args:
        frames: a source of frames, see :class:`FeatureCacheDataset`; every teacher must have the same frames.
        cache: an open cache, or its folder.
        teachers: names or live teachers; all if None.
        size: side of the student's input in pixels, a multiple of 32.
        augment: photometric transform of ``{"image": (1, S, S) uint8}`` to float32 in [0, 1], such as
            :class:`RandFluoroscopyd`; None for no augmentation.
        zoom: smallest and largest zoom factor of the random window; None for the whole square.
        packed: return features undecoded, see :class:`FeatureCacheDataset`.
        seed: random seed of the augmentation.
        verify: number of entries to re-encode when ``cache`` is a folder and a live teacher is given.
        progress: show a progress bar during preprocessing.

    Raises:
        FeatureCacheError: if the cache cannot be opened or has none of the frames, if the teachers' frames differ, or
            stored features are not finite.
        ValueError: if the size is not a multiple of 32, or for an invalid zoom range.
    """

    def __init__(
        self,
        frames: Sequence[Any],
        cache: FeatureCache | str | os.PathLike,
        teachers: Sequence[Teacher | str] | None = None,
        size: int = 256,
        augment: Callable | None = None,
        zoom: Sequence[float] | None = None,
        packed: bool = True,
        seed: int = 0,
        verify: int = 4,
        progress: bool = True,
    ) -> None:
        if size < 32 or size % 32:
            raise ValueError(f"the student's input must be a multiple of 32 pixels a side, not {size}")
        self.zoom = checked_zoom(zoom)
        super().__init__(frames, cache, teachers, None, packed, verify)
        self.size = int(size)
        self.augment = augment
        self.seed = int(seed)
        _same_images(self.cache, {key.hash for key in self.keys if key is not None}, self.teachers)
        _finite(self.cache, self.teachers)
        digest = hashlib.sha256("".join(key for _, key in self.data).encode()).hexdigest()[:16]
        self.path = Path(self.cache.path) / "students" / f"{self.size}-{STORE_VERSION}-{digest}.npy"
        self._prepare(progress)
        self._squares: np.ndarray | None = None
        self._fits = {shape: FrameGrid.fit(shape, "letterbox", self.size) for shape in self._sizes()}
        self._affines = {shape: fit.affine(self.size) for shape, fit in self._fits.items()}

    @property
    def data_hash(self) -> str:
        """SHA-256 over the contents of all frames, in any order."""
        return hashlib.sha256("".join(sorted(key for _, key in self.data)).encode()).hexdigest()

    def __getitem__(self, index):
        """One sample.

        Args:
            index: index of the sample, or a pair (epoch, index).

        Returns:
            See the class.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        epoch, number = (int(index[0]), int(index[1])) if isinstance(index, (tuple, list)) else (0, int(index))
        number = range(len(self))[number]
        _, key = self.data[number]
        shape = self.cache.frame_size(key)
        place, window = self._affines[shape], self._window(epoch, number, shape)
        if window is not None:
            place = (place.double() @ window.affine).float()
            into = torch.linalg.inv(place.double())
        sample: dict[str, Any] = {
            "image": self._image(epoch, number, shape, window),
            "image_affine": place,
            "frame": key,
            "features": {},
            "mask": {},
            "affine": {},
        }
        for name in self.teachers:
            sample["features"][name] = self.features(key, name)
            affine, mask = self.cache.geometry(key, name)
            if window is not None:
                mask = mask * window.sees(into @ affine.double(), (mask.shape[0], mask.shape[1]))
            sample["affine"][name], sample["mask"][name] = affine, mask
        return sample

    def _window(self, epoch: int, number: int, shape: tuple[int, int]) -> FrameWindow | None:
        if self.zoom is None:
            return None
        rng = np.random.default_rng([_mix(self.seed, epoch, number), WINDOW])
        return FrameWindow.draw(rng, self._fits[shape].content, self.size, self.zoom)

    def _image(self, epoch: int, number: int, shape: tuple[int, int], window: FrameWindow | None) -> torch.Tensor:
        if self._squares is None:
            self._squares = np.load(self.path, mmap_mode="r")
        square = np.ascontiguousarray(self._squares[number])
        content = self._fits[shape].content
        rows, columns = slice(0, content[0]), slice(0, content[1])
        if window is not None:
            square, (rows, columns) = window.cut(square, GREY), window.shown(content)
        if self.augment is None:
            return torch.from_numpy(square.astype(np.float32) / 255)[None]
        if hasattr(self.augment, "set_random_state"):
            self.augment.set_random_state(seed=_mix(self.seed, epoch, number))
        augmented = np.asarray(self.augment({"image": square[None]})["image"], np.float32)
        image = np.full_like(augmented, GREY / 255)  # padding stays unchanged
        image[:, rows, columns] = augmented[:, rows, columns]
        return torch.from_numpy(image)

    def _sizes(self) -> set[tuple[int, int]]:
        return {self.cache.frame_size(key) for _, key in self.data}

    def _prepare(self, progress: bool) -> None:
        from filelock import FileLock
        from tqdm import tqdm

        if self.path.is_file():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            if self.path.is_file():
                return
            with atomic_path(self.path) as partial:
                squares = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(self), self.size, self.size))
                places = enumerate(self.data)
                bar = tqdm(places, desc="fitting frames", unit="frame", total=len(self), disable=not progress, delay=2)
                for number, (index, _) in bar:
                    frame = get_frame(self.frames, index)[0].float().numpy()
                    squares[number] = fit_to_square(frame, self.size)[0]
                squares.flush()
                del squares

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_squares": None}  # each process opens its own memory map


def _same_images(cache: FeatureCache, keys: set[str], teachers: Sequence[str]) -> None:
    """Check that all teachers have features of the same images."""
    have = {name: {key for key in keys if (key, name) in cache} for name in teachers}
    most = max(have, key=lambda name: len(have[name]))
    for name, mine in have.items():
        if mine != have[most]:
            raise FeatureCacheError(
                f"{cache.path} holds features of different images: {most} has {len(have[most])} of these frames, "
                f"{name} {len(mine)}; build the cache again with all teachers; only missing features are computed"
            )


def _finite(cache: FeatureCache, teachers: Sequence[str]) -> None:
    """Check for NaN or infinite features by the statistics over all stored cells."""
    for name in teachers:
        statistics = cache.statistics(name)
        if not (statistics.mean.isfinite().all() and statistics.covariance.isfinite().all()):
            raise FeatureCacheError(
                f"{cache.path} holds features of {name} that are NaN or infinite: check the teacher's weights, delete "
                "its folder in the cache and build it again"
            )
