"""Training data set of cines: preprocessed once into a memory-mapped frame store, then sampled frame by frame."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import Compose

from .frame_store import FrameStore
from .samplers import rank_and_world
from .transforms import PackCined

__all__ = ["CineFrameDataset"]

logger = logging.getLogger(__name__)


class CineFrameDataset(Dataset):
    """Frames of cines for training, or whole cines for validation.

    The transforms up to and including :class:`PackCined` are deterministic: their result is written once per case into
    ``cache_dir`` (8-bit frames and 16-bit masks, memory-mapped, named by the hash of the case's content and of the
    transforms) and reused by later runs. The transforms after it run on each sample.

    A sample depends only on (``seed``, epoch, index), not on the worker process or on earlier draws: a resumed training
    continues with the same data. :class:`~.samplers.EpochBatchSampler` yields the pairs (epoch, index).

    Args:
        data: cases of a datalist: dictionaries with ``image`` and ``label`` paths and further entries.
        transform: ``Compose`` with one :class:`PackCined` in it.
        cache_dir: folder of the frame store.
        clip: frames per sample; None gives the whole cine of a case.
        frames_per_case: samples per case and epoch, redrawn each epoch; None uses every labelled frame.
        sizes: pairs (first epoch, frame size in pixels), passed to the random geometry as ``data["size"]``.
        max_frames: with ``clip=None``, at most this many frames of a cine, evenly spaced.
        seed: random seed.
        workers: number of preprocessing processes; 0 uses the current process.
        progress: show a progress bar during preprocessing.
        instead: fallback for an empty ``data``, with a warning: MONAI Label passes no validation cases while few cines
            are labelled.

    Raises:
        ValueError: without any case, or if ``transform`` has no :class:`PackCined`.
    """

    def __init__(
        self,
        data: Sequence[dict],
        transform: Compose,
        cache_dir: str | os.PathLike,
        clip: int | None = 1,
        frames_per_case: int | None = None,
        sizes: Sequence[Sequence[int]] = (),
        max_frames: int | None = None,
        seed: int = 0,
        workers: int = 0,
        progress: bool = True,
        instead: Sequence[dict] | None = None,
    ) -> None:
        if not len(data) and instead:
            logger.warning("there are no cases to validate on: the training's own %d are used", len(instead))
            data = instead
        super().__init__(data=list(data), transform=transform)
        if not self.data:
            raise ValueError("there are no cases in this part of the datalist")
        steps = list(transform.transforms) if isinstance(transform, Compose) else [transform]
        cut = next((i for i, step in enumerate(steps) if isinstance(step, PackCined)), None)
        if cut is None:
            raise ValueError("the transform of a CineFrameDataset needs one PackCined, where the frame store begins")
        self.fixed = Compose(steps[: cut + 1])
        self.varying = Compose(steps[cut + 1 :])
        self.clip = clip
        self.frames_per_case = frames_per_case
        self.sizes = sorted((int(epoch), int(size)) for epoch, size in sizes)
        self.max_frames = max_frames
        self.seed = int(seed)
        self.store = FrameStore(cache_dir, self.fixed)
        self.keys, self.content = zip(*(self.store.key(item) for item in self.data))
        entries = self._prepare(workers, progress)
        # The patient is not part of the key: identical files of two patients share an entry.
        self.info = [
            {**entries[key], "patient_id": str(item.get("patient_id") or key[:12])}
            for key, item in zip(self.keys, self.data)
        ]
        self.samples = self._list_samples()

    @property
    def data_hash(self) -> str:
        """SHA-256 over the contents of all cases, in any order."""
        return hashlib.sha256("".join(sorted(self.content)).encode()).hexdigest()

    def _prepare(self, workers: int, progress: bool) -> dict[str, dict]:
        """Descriptions of all cases by key; missing entries are prepared first."""
        entries = {key: self.store.entry(key) for key in self.keys}
        missing = {key: item for key, item in zip(self.keys, self.data) if entries[key] is None}
        rank, world = rank_and_world()
        # Every rank starts with its own share; most of the others are finished when it reaches them.
        todo = sorted(missing.items(), key=lambda pair: (int(pair[0], 16) - rank) % world)
        with _progress(len(todo), progress and rank == 0) as bar:
            if workers > 0 and len(todo) > 1:
                # Forking a process with running torch threads may deadlock: spawn.
                with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
                    jobs = [pool.submit(self.store.write, item, key) for key, item in todo]
                    try:
                        for job in as_completed(jobs):
                            job.result()
                            bar.update()
                    except BaseException:
                        # Fail on the first bad case instead of after all others.
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
            else:
                for key, item in todo:
                    self.store.write(item, key)
                    bar.update()
        return {key: entry or self._made(key) for key, entry in entries.items()}

    def _made(self, key: str) -> dict:
        entry = self.store.entry(key)
        if entry is None:
            raise ValueError(f"{self.store.folder} does not keep what is written there: is the disk full?")
        return entry

    def _list_samples(self) -> list[tuple[int, int]]:
        """(case, frame) for every usable frame, or (case, draw)."""
        if self.clip is None:
            return [(case, 0) for case in range(len(self.info))]
        samples = []
        for case, info in enumerate(self.info):
            usable = self._usable(info)
            if not len(usable):
                logger.warning("case %s has no labelled frame and is left out", info["patient_id"])
                continue
            samples += [(case, n) for n in (range(self.frames_per_case) if self.frames_per_case else usable)]
        if not samples:
            raise ValueError("no case of this part of the datalist has a labelled frame")
        return samples

    @staticmethod
    def _usable(info: dict) -> np.ndarray:
        """Frames with at least one labelled structure."""
        if info["labelled"] is None:
            return np.arange(0)
        return np.flatnonzero(np.asarray(info["labelled"], bool).any(0))

    def __len__(self) -> int:
        return len(self.samples)

    def size_at(self, epoch: int) -> int | None:
        """Frame size of an epoch (counted from 1); None without a schedule."""
        reached = [size for first, size in self.sizes if first <= max(epoch, 1)]
        return reached[-1] if reached else (self.sizes[0][1] if self.sizes else None)

    def __getitem__(self, index):
        """One sample.

        Args:
            index: index of the sample, or a pair (epoch, index).

        Returns:
            Output of the last transform; with :class:`UnpackCined`, ``image`` (1, H, W, T) and ``label`` (S, H, W, T).
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        epoch, number = (int(index[0]), int(index[1])) if isinstance(index, (tuple, list)) else (0, int(index))
        number = range(len(self))[number]
        case, n = self.samples[number]
        info = self.info[case]
        frames = self.store.kept(self.keys[case], "image")
        labelled = None if info["labelled"] is None else np.asarray(info["labelled"], bool)
        chosen = self._choose(info, epoch, case, n, len(frames))
        sample = {"image": np.ascontiguousarray(frames[chosen])}
        if labelled is not None:
            masks = self.store.kept(self.keys[case], "label")
            sample |= {"label": np.ascontiguousarray(masks[chosen]), "labelled": labelled[:, chosen]}
        if self.clip is None:
            sample |= {"patient_id": info["patient_id"], "case": case}
        if self.sizes:
            sample["size"] = self.size_at(epoch)
        self.varying.set_random_state(seed=_mix(self.seed, epoch, number))
        sample = self.varying(sample)
        sample.pop("size", None)
        return sample

    def _choose(self, info: dict, epoch: int, case: int, n: int, count: int) -> np.ndarray:
        """Frame indices of a sample."""
        if self.clip is None:
            chosen = np.arange(count)
            if self.max_frames and count > self.max_frames:
                pool = self._usable(info) if info["labelled"] is not None else chosen
                pool = pool if len(pool) else chosen
                chosen = pool[np.unique(np.linspace(0, len(pool) - 1, self.max_frames).round().astype(int))]
            return chosen
        middle = n
        if self.frames_per_case:
            usable = self._usable(info)
            # Draws of a case within an epoch are without replacement until its frames are used up.
            order = np.random.default_rng([self.seed, epoch, case, 1]).permutation(len(usable))
            middle = usable[order[n % len(usable)]]
        first = middle - (self.clip - 1) // 2
        return np.clip(np.arange(first, first + self.clip), 0, count - 1)


def _mix(*numbers: int) -> int:
    """Hash several numbers into one 31-bit seed, unrelated for neighbouring numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _progress(total: int, show: bool):
    from tqdm import tqdm

    return tqdm(total=total, desc="preparing cines", unit="cine", disable=not show, delay=2)
