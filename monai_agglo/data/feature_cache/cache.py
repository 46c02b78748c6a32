"""Teacher feature cache: teachers run once per frame, training reads the stored features.

Build it with :func:`build_feature_cache`, read it with :class:`FeatureCache` or :class:`FeatureCacheDataset`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from monai_agglo.networks.teachers import Teacher

from .frames import FrameKey, frame_hash, get_frame, index_frames
from .store import QUALITY, Block, FeatureCacheError, Record, read_json
from .teacher import TeacherStore, check_version
from .view import stored_mask

__all__ = ["LEAST_COSINE", "FeatureCache", "TeacherStatistics"]

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.999


@dataclass(frozen=True)
class TeacherStatistics:
    """Statistics for target normalisation, over all cells with a valid area of at least one half.

    Attributes:
        count: cells.
        mean: (k,) float64.
        covariance: (k, k) float64.
    """

    count: int
    mean: torch.Tensor
    covariance: torch.Tensor


class FeatureCache:
    """Teacher features by (frame hash, teacher name).

    ``cache[frame_hash(frame), "medsam"]`` is a float32 tensor (k, h, w): the stored view of the teacher's features of
    that frame. Reading is memory-mapped and safe in any number of processes; the object can be pickled.

    Args:
        path: folder of the cache.
        stores: by teacher name; see :meth:`open`.
    """

    def __init__(self, path: Path, stores: dict[str, TeacherStore]) -> None:
        self.path = path
        self._stores = stores
        self._codecs = {name: store.codec() for name, store in stores.items()}
        self._places: dict[str, dict[str, tuple[Block, int]]] = {}
        self._geometry: dict[tuple, tuple[torch.Tensor, torch.Tensor]] = {}
        for name, store in stores.items():
            places = self._places[name] = {}
            for _, block in store.finished():
                block.check()
                places.update({frame: (block, index) for index, frame in enumerate(block.frames)})
            if not places:
                raise FeatureCacheError(
                    f"{path} holds no features of {name} yet: run the same build again to finish it"
                )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike,
        teachers: Sequence[Teacher | str] | None = None,
        verify: int = 4,
        frames: Sequence[Any] | None = None,
        seed: int | None = None,
    ) -> FeatureCache:
        """Open a cache.

        Args:
            path: its folder.
            teachers: names or live teachers to read; all if None. Weights and preprocessing of a live teacher must
                match the cache.
            verify: number of random entries to re-encode with each live teacher and compare (cosine above 0.999);
                needs ``frames``. 0 disables the check.
            frames: source of the frames, see :func:`~.frames.get_frame`.
            seed: random seed of the choice of entries; not reproducible if None.

        Returns:
            The cache.

        Raises:
            FeatureCacheError: if the cache is absent, unfinished, truncated, of another version, or made with other
                weights or preprocessing, or if an entry differs from the live teacher.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise FeatureCacheError(f"there is no feature cache {path}: build one with build_feature_cache")
        listing = read_json(folder / "cache.json")
        check_version(listing, folder / "cache.json")
        names = [t if isinstance(t, str) else t.spec.name for t in teachers or listing["teachers"]]
        stores = {}
        for name in names:
            if name not in listing["teachers"]:
                known = ", ".join(sorted(listing["teachers"]))
                raise FeatureCacheError(f"{path} has no features of {name} (it has {known}): build them first")
            stores[name] = TeacherStore(folder / listing["teachers"][name])
        cache = cls(folder, stores)
        live = [teacher for teacher in teachers or () if isinstance(teacher, Teacher)]
        for teacher in live:
            cache.match(teacher)
        if live and verify and frames is not None:
            cache.verify(frames, live, verify, seed)
        return cache

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers."""
        return tuple(self._stores)

    def __len__(self) -> int:
        """Number of frames common to all teachers."""
        return len(self.hashes())

    def __contains__(self, entry: tuple[str, str]) -> bool:
        return entry[0] in self._places.get(entry[1], ())

    def hashes(self) -> list[str]:
        """Content hashes of the frames common to all teachers, in the order of the first teacher's blocks."""
        first, *others = self._places.values()
        return [frame for frame in first if all(frame in places for places in others)]

    def __getitem__(self, entry: tuple[str, str]) -> torch.Tensor:
        """The stored view of one frame: (k, h, w) float32.

        Raises:
            KeyError: if there is no such entry.
        """
        codes, scale = self.read(*entry)
        return self.decode(entry[1], codes[None], None if scale is None else scale[None])[0]

    def read(self, frame: str, teacher: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Stored codes, undecoded: a quarter of the bytes to transfer to a GPU, see :meth:`decode`.

        Args:
            frame: content hash.
            teacher: name.

        Returns:
            Codes (k, h, w) int8 or float16, and for int8 the scales (h, w) float16.

        Raises:
            KeyError: if there is no such entry.
        """
        record = self._record(frame, teacher)
        return torch.from_numpy(record.codes.copy()), (
            None if record.scale is None else torch.from_numpy(record.scale.copy())
        )

    def decode(self, teacher: str, codes: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
        """Decode a batch of :meth:`read` to the stored view, on any device.

        Args:
            teacher: name.
            codes: (B, k, h, w).
            scale: (B, h, w), None for fp16.

        Returns:
            (B, k, h, w) float32.
        """
        codec = self._codecs[teacher]
        if codec.centre.device != codes.device:
            codec = self._codecs[teacher] = codec.to(codes.device)
        return codec.unpack(codes, scale)

    def expand(self, teacher: str, features: torch.Tensor) -> torch.Tensor:
        """The stored view (..., k, h, w) in the teacher's own channels (..., C, h, w), less the dropped components."""
        return self._codecs[teacher].expand(features)

    def geometry(self, frame: str, teacher: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Affine and mask of a stored map in its frame.

        Returns:
            The (3, 3) affine from grid (row, column, 1) to frame (row, column, 1) in pixels, and the (h, w) valid
            area of each cell, in [0, 1].
        """
        store = self._stores[teacher]
        place = (teacher, store.sizes[frame])
        if place not in self._geometry:
            self._geometry[place] = stored_mask(store.sizes[frame], store.shape[1], store.identity["teacher"])
        return self._geometry[place]

    def frame_size(self, frame: str) -> tuple[int, int]:
        """Rows and columns of a frame, in pixels.

        Raises:
            KeyError: if no teacher has this frame.
        """
        for store in self._stores.values():
            if frame in store.sizes:
                rows, columns = store.sizes[frame]
                return int(rows), int(columns)
        raise KeyError(f"{self.path} has no frame {frame}")

    def shape(self, teacher: str) -> tuple[int, int, int]:
        """Channels, rows and columns of a teacher's stored view."""
        return self._stores[teacher].shape

    def statistics(self, teacher: str) -> TeacherStatistics:
        """Count, mean and covariance over all stored frames, for target normalisation."""
        moments = self._stores[teacher].statistics
        return TeacherStatistics(moments.count, moments.mean, moments.covariance())

    def describe(self, teacher: str) -> dict[str, Any]:
        """Description of a teacher's part as plain JSON: data sheet, hashes, view, precision, shape, frames, minimum
        cosine per cell to the live view, and variance retained by the principal components over all frames."""
        store = self._stores[teacher]
        facts = {k: v for k, v in store.header.items() if k in ("frames", "cosine_min", "retained_variance", "count")}
        codec = self._codecs[teacher]
        return {
            **store.identity,
            **facts,
            "components": None if codec.basis is None else store.shape[0],
            "calibration_frames": codec.frames,
            "bytes": sum(block.bytes for _, block in store.finished()),
        }

    def quality(self, frame: str, teacher: str) -> dict[str, float]:
        """Fidelity of an entry to the teacher's features, measured on writing.

        Returns:
            ``cosine_min`` and ``cosine_mean`` over cells between entry and live view; ``energy_kept`` and ``energy``,
            the squared deviations from the calibration mean with and without the loss to principal components.
        """
        return dict(zip(QUALITY, self._record(frame, teacher).quality.tolist()))

    def match(self, teacher: Teacher) -> None:
        """Check that weights and preprocessing of a teacher match the cache.

        Raises:
            FeatureCacheError: if they differ, with both hashes.
        """
        identity = self._stores[teacher.spec.name].identity
        for what, now in (
            ("weights", teacher.weights_hash()),
            ("preprocessing", teacher.spec.preprocessing_hash()),
        ):
            then = identity[f"{what}_hash"]
            if then != now:
                raise FeatureCacheError(
                    f"{self.path} holds features of {teacher.spec.name} with other {what} ({then}) than the teacher "
                    f"given ({now}): build the cache with this teacher, the old features stay apart"
                )

    def verify(
        self, frames: Sequence[Any], teachers: Sequence[Teacher], count: int = 4, seed: int | None = None
    ) -> dict[str, float]:
        """Re-encode random frames and compare with the stored features.

        Args:
            frames: source of the frames; only some are read.
            teachers: live teachers.
            count: number of frames to compare.
            seed: random seed of the choice.

        Returns:
            Minimum cosine per cell of each teacher, in the stored view.

        Raises:
            FeatureCacheError: if a cosine is not above 0.999, or a record is damaged.
        """
        rng = np.random.default_rng(seed)
        found = {teacher.spec.name: 1.0 for teacher in teachers}
        left = count
        for number in rng.permutation(len(frames)):
            if not left:
                break
            frame = get_frame(frames, int(number))
            key = frame_hash(frame)
            if not all((key, name) in self for name in found):
                continue  # invalid, or not in this cache
            left -= 1
            for teacher in teachers:
                name = teacher.spec.name
                self._record(key, name, verify=True)
                cosine = float(cosines(self[key, name], self.live(teacher, frame), self.geometry(key, name)[1]).min())
                found[name] = min(found[name], cosine)
                if not cosine > LEAST_COSINE:
                    raise FeatureCacheError(
                        f"{self.path}: stored features of {name} differ from the live teacher (cosine {cosine:.4f} for "
                        f"frame {key}): delete {self._stores[name].folder} and build it again"
                    )
        if left == count:
            raise FeatureCacheError(f"none of the frames given is in {self.path}: give the frames it was built from")
        return found

    def live(self, teacher: Teacher, frame: torch.Tensor) -> torch.Tensor:
        """Features of one (1, H, W) frame from the live teacher, in the stored view: (k, h, w) on the CPU."""
        view, device = self._stores[teacher.spec.name].view, next(teacher.parameters()).device
        pooled = view.pool(teacher(frame[None].to(device)).features, teacher.spec)
        return self._codecs[teacher.spec.name].to("cpu").project(pooled.cpu())[0]

    def check(self) -> Iterator[str]:
        """Verify the checksum of every record.

        Yields:
            One sentence per damaged record.
        """
        for places in self._places.values():
            for block, index in places.values():
                try:
                    block.read(index, verify=True)
                except FeatureCacheError as error:
                    yield str(error)

    def index(self, frames: Sequence[Any], progress: bool = False) -> list[FrameKey | None]:
        """Hash every frame of a source, see :func:`~.frames.index_frames`."""
        return index_frames(frames, self.path, "skip", progress)

    def _record(self, frame: str, teacher: str, verify: bool = False) -> Record:
        try:
            block, index = self._places[teacher][frame]
        except KeyError:
            raise KeyError(f"{self.path} has no features of {teacher} for frame {frame}") from None
        return block.read(index, verify)


def cosines(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cosine per cell of two maps (k, h, w), where the mask (h, w) is at least one half; never empty.

    Cells that are (relatively) zero in both maps have no direction and count as equal.
    """
    one, other = one.flatten(1), other.flatten(1)
    found = F.cosine_similarity(one, other, dim=0, eps=1e-30)
    size = torch.maximum(one.norm(dim=0), other.norm(dim=0))
    found = torch.where(size <= 1e-6 * size.max(), torch.ones_like(found), found)
    inside = mask.flatten() >= 0.5
    return found[inside] if inside.any() else found
