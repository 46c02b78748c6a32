"""Worker of a cache build: fills unlocked blocks one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from filelock import Timeout
from tqdm import tqdm

from monai_agglo.networks.teachers import Teacher

from .cache import cosines
from .frames import frame_hash, get_frame
from .store import Block, FeatureCacheError, Record
from .teacher import TeacherStore
from .view import FeatureCodec, stored_mask

__all__ = ["Progress", "RecentFrames", "encode_pooled", "fill_blocks", "open_blocks"]


def open_blocks(store: TeacherStore, where: dict[str, int]) -> list[tuple[int, Block]]:
    """Unfinished blocks with frames of the source."""
    return [
        (number, block)
        for number, block in enumerate(store.blocks)
        if not block.complete() and all(frame in where for frame in block.frames)
    ]


def encode_pooled(store: TeacherStore, teacher: Teacher, batch: torch.Tensor) -> torch.Tensor:
    device = next(teacher.parameters()).device
    pooled = store.view.pool(teacher(batch.to(device)).features, teacher.spec)
    if not bool(pooled.isfinite().all()):
        raise FeatureCacheError(f"teacher {store.name} gives NaN or infinite features: check its weights")
    return pooled


def fill_blocks(
    pairs: Sequence[tuple[TeacherStore, Teacher]],
    frames: Sequence[Any],
    where: dict[str, int],
    batch_size: int,
    share: tuple[int, int],
    bar: Callable[[], None],
    known: Sequence[Mapping[str, torch.Tensor]] | None = None,
) -> None:
    """Fill blocks until none is left, waiting for blocks locked by others.

    ``known`` holds per pair the pooled maps (C, h, w) already computed in this process.
    """
    jobs = sorted(
        ((number, place) for place, (store, _) in enumerate(pairs) for number, _ in open_blocks(store, where)),
    )
    first = len(jobs) * share[0] // share[1]
    jobs = jobs[first:] + jobs[:first]
    source = RecentFrames(frames, where)
    while jobs:
        left = []
        for number, place in jobs:
            store, teacher = pairs[place]
            block, seen = store.blocks[number], known[place] if known else {}
            lock = store.block_lock(number)
            try:
                with lock.acquire(timeout=0):
                    if not block.complete():
                        _fill(store, teacher, number, block, source, batch_size, bar, seen)
            except Timeout:
                left.append((number, place))
            bar()
        if len(left) == len(jobs):
            time.sleep(0.2)
        jobs = [(number, place) for number, place in left if not pairs[place][0].blocks[number].complete()]


def _fill(
    store: TeacherStore,
    teacher: Teacher,
    number: int,
    block: Block,
    source: RecentFrames,
    batch_size: int,
    bar: Callable[[], None],
    known: Mapping[str, torch.Tensor],
) -> None:
    """Write the missing records of a block, update the statistics, and rename it."""
    codec = store.codec()
    device = next(teacher.parameters()).device
    codec_there = codec.to(device)
    todo = np.flatnonzero(~block.prepare()).tolist()
    while todo:
        alike = store.sizes[block.frames[todo[0]]], block.frames[todo[0]] in known
        batch = [i for i in todo if (store.sizes[block.frames[i]], block.frames[i] in known) == alike][:batch_size]
        if alike[1]:
            pooled = torch.stack([known[block.frames[index]] for index in batch]).to(device)
        else:
            pooled = encode_pooled(store, teacher, torch.stack([source[block.frames[index]] for index in batch]))
        for index, record in zip(batch, _records(store, codec_there, pooled, alike[0])):
            block.write(index, record)
        todo = [index for index in todo if index not in batch]
        bar()
    store.write_statistics(number, block, codec)
    block.finish()


def _records(store: TeacherStore, codec: FeatureCodec, pooled: torch.Tensor, size: tuple[int, int]) -> Iterator[Record]:
    """Records of a batch of frames of one size, with their fidelity to the teacher."""
    stored = codec.project(pooled)
    codes, scale = codec.pack(stored)
    back = codec.unpack(codes, scale)
    mask = stored_mask(size, store.shape[1], store.identity["teacher"])[1].to(pooled.device)
    inside = (mask >= 0.5).float()
    for number in range(len(pooled)):
        cosine = cosines(back[number], stored[number], mask)
        energy = kept = torch.ones((), device=pooled.device)
        if codec.origin is not None:
            energy = ((pooled[number] - codec.origin[:, None, None]).square().sum(0) * inside).sum()
            kept = (stored[number].square().sum(0) * inside).sum()
        yield Record(
            codes[number].cpu().numpy(),
            None if scale is None else scale[number].cpu().numpy(),
            torch.stack([cosine.min(), cosine.mean(), kept, energy]).cpu().numpy(),
        )


class RecentFrames:
    """Frames by hash; the most recent are kept because all teachers read the same block in turn."""

    def __init__(self, frames: Sequence[Any], where: dict[str, int], room: int = 128) -> None:
        self.frames, self.where, self.room = frames, where, room
        self.kept: dict[str, torch.Tensor] = {}

    def __getitem__(self, key: str) -> torch.Tensor:
        if key not in self.kept:
            frame = get_frame(self.frames, self.where[key]).float()
            if frame_hash(frame) != key:
                raise FeatureCacheError(
                    f"frame {self.where[key]} of the source is not what it was when the build began: frames must be "
                    "the same every time they are read (no random augmentation)"
                )
            if len(self.kept) >= self.room:
                self.kept.pop(next(iter(self.kept)))
            self.kept[key] = frame
        return self.kept[key]


class Progress:
    """Progress bar over the records of all processes, read from the files at most once per second."""

    def __init__(self, stores: Sequence[TeacherStore], where: dict[str, int], show: bool) -> None:
        self.blocks = [block for store in stores for _, block in open_blocks(store, where)]
        self.finished, self.last = 0, time.monotonic()
        total = sum(len(block.frames) for block in self.blocks)
        already = sum(int(block.done().sum()) for block in self.blocks) if show else 0
        self.bar = tqdm(total=total, initial=already, desc="encoding", unit="map", disable=not show or not total)

    def __call__(self, force: bool = False) -> None:
        if self.bar.disable or (time.monotonic() - self.last < 1 and not force):
            return
        self.last = time.monotonic()
        done = [block for block in self.blocks if block.complete()]
        self.finished += sum(len(block.frames) for block in done)
        self.blocks = [block for block in self.blocks if block not in done]
        self.bar.update(self.finished + sum(int(block.done().sum()) for block in self.blocks) - self.bar.n)

    def close(self) -> None:
        self(force=True)
        self.bar.close()
