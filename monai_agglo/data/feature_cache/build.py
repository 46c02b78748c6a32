"""Build a feature cache with any number of processes and ranks; an interrupted build resumes.

There is no coordinator: every process takes a block that is neither finished nor locked, fills it, and returns when
none is left. The system releases the locks of a terminated process.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from tqdm import tqdm

from monai_agglo.networks.teachers import Teacher, create_teacher

from .cache import FeatureCache
from .frames import index_frames
from .store import FeatureCacheError, read_json
from .teacher import VERSION, TeacherStore, check_version, write_json
from .view import COMPACT, PRECISIONS, FeatureCodec, FeatureView
from .work import Progress, RecentFrames, encode_pooled, fill_blocks, open_blocks

__all__ = ["build_feature_cache"]

logger = logging.getLogger(__name__)

ROOM = 1.02
"""Required free disk space as a multiple of the data to write; includes statistics and indices."""


def build_feature_cache(
    frames: Sequence[Any],
    teachers: Sequence[Teacher | str],
    path: str | os.PathLike,
    *,
    precision: str = "int8",
    view: FeatureView = COMPACT,
    processes: int = 1,
    batch_size: int | None = None,
    device: str | torch.device | None = None,
    frames_per_block: int = 64,
    calibration_frames: int = 64,
    on_bad: str = "error",
    verify: int = 4,
    progress: bool = True,
) -> FeatureCache:
    """Run the teachers once over all frames and store their features.

    A further call (after an interruption, with more frames or more teachers) computes missing entries only. Under
    torchrun every rank calls it with the same arguments; so may independent processes on one computer, or on several
    with a shared file system and working locks. It returns when the cache is complete.

    Args:
        frames: a sequence, see :func:`~.frames.get_frame`. Pickled if ``processes`` is above
            1.
        teachers: live teachers, or names in the registry with local weights.
        path: folder of the cache; created if missing.
        precision: ``int8`` or ``fp16``.
        view: stored grid and channels.
        processes: number of local processes.
        batch_size: frames per call of a teacher; 1 on a CPU and 16 on a GPU if None.
        device: device of the teachers; the GPU of this rank, or the CPU, if None.
        frames_per_block: frames per file; files of 64 to 256 MB are efficient to read.
        calibration_frames: number of evenly spread frames for means and principal components.
        on_bad: ``error`` raises on an invalid frame (constant, NaN, ...), ``skip`` omits it.
        verify: number of entries to re-encode and compare at the end.
        progress: show the final size and a progress bar with the remaining time.

    Returns:
        The cache, opened.

    Raises:
        FeatureCacheError: for invalid frames, a full disk or a damaged cache.
    """
    if precision not in PRECISIONS:
        raise FeatureCacheError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if len(frames) == 0 or not teachers:
        raise FeatureCacheError("a feature cache needs at least one frame and one teacher")
    folder = Path(path)
    rank, local, world = _ranks()
    show = progress and rank == 0
    live = [create_teacher(teacher) if isinstance(teacher, str) else teacher for teacher in teachers]
    names = [teacher.spec.name for teacher in live]
    if len(set(names)) < len(names):
        raise FeatureCacheError(f"a teacher is given twice: {', '.join(names)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "index.lock"):  # one rank indexes the frames, the others read its index
            keys = index_frames(frames, folder, on_bad, show)
            stores = [TeacherStore.create(folder, teacher, view, precision) for teacher in live]
            for store in stores:
                store.add_frames([key for key in keys if key is not None], frames_per_block)
    except OSError as error:
        raise FeatureCacheError(f"cannot write to the cache folder {folder}: {error.strerror or error}") from error
    where = {key.hash: number for number, key in reversed(list(enumerate(keys))) if key is not None}
    _announce(folder, stores, live, where, show)
    place = torch.device(
        device or (f"cuda:{local % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu")
    )
    size = batch_size or (16 if place.type == "cuda" else 1)
    known = [
        _calibrate(store, teacher.to(place), RecentFrames(frames, where), where, calibration_frames, show)
        for store, teacher in zip(stores, live)
    ]
    bar = Progress(stores, where, show)
    if processes > 1:
        _spawn(folder, frames, live, names, stores, where, size, place, processes, bar)
    else:
        fill_blocks(list(zip(stores, live)), frames, where, size, (rank, world), bar, known)
    bar.close()
    for store in stores:
        store.finish(store.codec())
    _list_stores(folder, stores)
    return FeatureCache.open(folder, live, verify, frames)


def _ranks() -> tuple[int, int, int]:
    """Rank, local rank and world size, from torchrun."""
    rank, local, world = (os.environ.get(name, "") for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    return (int(rank), int(local or rank), int(world)) if rank.isdigit() and world.isdigit() else (0, 0, 1)


def _announce(
    folder: Path, stores: Sequence[TeacherStore], teachers: Sequence[Teacher], where: dict[str, int], show: bool
) -> None:
    """Report the final size and raise if the disk is too small."""
    missing = [block for store in stores for _, block in open_blocks(store, where)]
    needed = sum(block.bytes for block in missing if not block.part.is_file())
    each = sum(store.view.bytes(teacher.spec, store.precision) for store, teacher in zip(stores, teachers))
    total = sum(block.bytes for store in stores for block in store.blocks)
    free = shutil.disk_usage(folder).free
    if show:
        parts = ", ".join(f"{store.name} {'x'.join(map(str, store.shape))}" for store in stores)
        tqdm.write(
            f"feature cache {folder}: {len(where)} frames x {each / 1e6:.3f} MB ({parts}; {stores[0].precision}); "
            f"{total / 1e9:.3f} GB when finished, {needed / 1e9:.3f} GB to write, {free / 1e9:.1f} GB free",
            file=sys.stderr,
        )
    if needed * ROOM > free:
        raise FeatureCacheError(
            f"the disk of {folder} has {free / 1e9:.2f} GB free, the cache needs {needed * ROOM / 1e9:.2f} GB more: "
            "make room, choose another folder, or store less with view=FeatureView(grid=16, channels=128)"
        )


def _calibrate(
    store: TeacherStore, teacher: Teacher, source: RecentFrames, where: dict[str, int], count: int, show: bool
) -> dict[str, torch.Tensor]:
    """Calibrate means and principal components unless another process has.

    Returns:
        Pooled maps of the calibration frames, by frame, for reuse.
    """
    known: dict[str, torch.Tensor] = {}
    with store.lock():
        if store.calibrated():
            return known
        hashes = [frame for block in store.blocks for frame in block.frames if frame in where]
        chosen = np.unique(np.linspace(0, len(hashes) - 1, min(count, len(hashes))).round().astype(int))

        def maps() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for number in tqdm(chosen, desc=f"calibrating {store.name}", unit="frame", disable=not show, delay=2):
                pooled = encode_pooled(store, teacher, source[hashes[number]][None])[0]
                known[hashes[number]] = pooled
                yield pooled, store.mask(hashes[number])

        components = store.view.components(teacher.spec)
        store.write_codec(FeatureCodec.fit(maps(), components, store.precision))
    return known


def _spawn(folder, frames, teachers, names, stores, where, batch_size, device, processes, bar) -> None:
    """Fill the blocks in several processes; the first error terminates all."""
    from torch import multiprocessing

    told = multiprocessing.get_context("spawn").SimpleQueue()
    folders = [store.folder for store in stores]
    arguments = (folders, frames, teachers, where, batch_size, str(device), processes, told)
    context = multiprocessing.spawn(_worker, arguments, nprocs=processes, join=False)
    try:
        while not context.join(timeout=0.5):
            bar()
    except (multiprocessing.ProcessRaisedException, multiprocessing.ProcessExitedException) as error:
        if not told.empty():
            raise FeatureCacheError(told.get()) from error
        reason = str(error).strip().splitlines()[-1]
        raise FeatureCacheError(
            f"a process that fills {folder} has ended ({reason}): run the same build again, it goes on where it stopped"
        ) from error


def _worker(number, folders, frames, teachers, where, batch_size, device, processes, told) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    where_to = torch.device(device)
    if where_to.type == "cuda":
        where_to = torch.device("cuda", number % torch.cuda.device_count())
    try:
        pairs = [(TeacherStore(folder), teacher.to(where_to)) for folder, teacher in zip(folders, teachers)]
        fill_blocks(pairs, frames, where, batch_size, (number, processes), lambda: None)
    except FeatureCacheError as error:
        told.put(str(error))
        raise


def _list_stores(folder: Path, stores: Sequence[TeacherStore]) -> None:
    """Record the current folder of each teacher; older ones are kept separately."""
    with FileLock(folder / "index.lock"):
        path = folder / "cache.json"
        content: dict[str, Any] = {"format": "monai_agglo feature cache", "version": VERSION, "teachers": {}}
        if path.is_file():
            content = read_json(path)
            check_version(content, path)
        listed = {**content["teachers"], **{store.name: store.folder.name for store in stores}}
        if listed != content["teachers"] or not path.is_file():
            write_json(path, {**content, "teachers": listed})
