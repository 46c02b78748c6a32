#!/usr/bin/env python3
"""Which store for the teacher-feature cache: zarr v3, LMDB or memory-mapped safetensors blocks, measured.

    pip install zarr lmdb
    python -m experiments.costs.cache_stores FOLDER [--frames 256] [--json FILE]

Writes the int8 records of the four main teachers in the compact view (0.9 MB a frame, values that do not compress) to
each store in FOLDER, and reads all frames in random order: after the system was told to forget the files, and warm.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from monai_agglo.data.feature_cache.store import Block, Record

SHAPES = {"medsam": (256, 32, 32), "medsam2": (256, 32, 32), "rad_dino": (256, 37, 37), "medclip": (768, 7, 7)}
PER_BLOCK = 64


def records(count: int) -> list[dict[str, Record]]:
    """Random records, a frame each."""
    rng = np.random.default_rng(0)
    return [
        {
            name: Record(
                rng.integers(-127, 128, shape, np.int8),
                rng.random(shape[1:]).astype(np.float16),
                np.ones(4, np.float32),
            )
            for name, shape in SHAPES.items()
        }
        for _ in range(count)
    ]


def blocks_store(folder: Path, frames: list[dict[str, Record]]) -> Callable[[], Callable[[int], int]]:
    """Memory-mapped safetensors blocks, as the cache has them."""

    def blocks() -> dict[str, list[Block]]:
        names = [f"{n:032x}" for n in range(len(frames))]
        return {
            teacher: [
                Block(folder / f"{teacher}-{start}.safetensors", names[start : start + PER_BLOCK], shape, "int8", "key")
                for start in range(0, len(frames), PER_BLOCK)
            ]
            for teacher, shape in SHAPES.items()
        }

    for teacher, row in blocks().items():
        for number, block in enumerate(row):
            block.prepare()
            for index in range(len(block.frames)):
                block.write(index, frames[number * PER_BLOCK + index][teacher])
            block.finish()

    def reader() -> Callable[[int], int]:
        rows = blocks()

        def read(n: int) -> int:
            found = [row[n // PER_BLOCK].read(n % PER_BLOCK) for row in rows.values()]
            return sum(record.codes.copy().nbytes + record.scale.copy().nbytes for record in found)

        return read

    return reader


def lmdb_store(folder: Path, frames: list[dict[str, Record]]) -> Callable[[], Callable[[int], int]]:
    """LMDB, a value per frame and teacher, in transactions of a block's size."""
    import lmdb

    size = 3 * len(frames) * 1_000_000 + (64 << 20)
    opened: list = []
    with lmdb.open(str(folder / "db"), map_size=size) as base:
        for start in range(0, len(frames), PER_BLOCK):
            with base.begin(write=True) as transaction:
                for n in range(start, min(start + PER_BLOCK, len(frames))):
                    for teacher, record in frames[n].items():
                        transaction.put(f"{n:032x}{teacher}".encode(), record.codes.tobytes() + record.scale.tobytes())

    def reader() -> Callable[[int], int]:
        if opened:
            opened.pop().close()  # LMDB refuses a second time in one process
        base = lmdb.open(str(folder / "db"), readonly=True, lock=False, readahead=False)
        opened.append(base)

        def read(n: int) -> int:
            total = 0
            with base.begin(buffers=True) as transaction:
                for teacher, shape in SHAPES.items():
                    value = np.frombuffer(transaction.get(f"{n:032x}{teacher}".encode()), np.uint8)
                    total += value[: int(np.prod(shape))].copy().nbytes + value[int(np.prod(shape)) :].copy().nbytes
            return total

        return read

    return reader


def zarr_store(shards: bool) -> Callable[[Path, list[dict[str, Record]]], Callable[[], Callable[[int], int]]]:
    """zarr v3, an array per teacher, a chunk per frame, uncompressed; or the same with 64 chunks to a shard."""

    def store(folder: Path, frames: list[dict[str, Record]]) -> Callable[[], Callable[[int], int]]:
        import zarr

        group = zarr.open_group(str(folder / "z"), mode="w", zarr_format=3)
        for teacher, shape in SHAPES.items():
            for kind, each, dtype in (("codes", shape, "int8"), ("scale", shape[1:], "float16")):
                options = {"shards": (PER_BLOCK, *each)} if shards else {}
                array = group.create_array(
                    f"{teacher}-{kind}", shape=(len(frames), *each), chunks=(1, *each), dtype=dtype, compressors=None,
                    **options,
                )  # fmt: skip
                for start in range(0, len(frames), PER_BLOCK):
                    part = [getattr(frame[teacher], kind) for frame in frames[start : start + PER_BLOCK]]
                    array[start : start + len(part)] = np.stack(part)

        def reader() -> Callable[[int], int]:
            again = zarr.open_group(str(folder / "z"), mode="r")
            arrays = [again[f"{teacher}-{kind}"] for teacher in SHAPES for kind in ("codes", "scale")]
            return lambda n: sum(np.asarray(array[n]).nbytes for array in arrays)

        return reader

    return store


def forget(folder: Path) -> None:
    """Ask the system to drop the files from memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: Path, frames: list[dict[str, Record]], store: Callable) -> dict[str, float]:
    """Seconds of processor and of the clock, per frame; sizes."""
    folder.mkdir(parents=True)
    begin = time.perf_counter()
    reader = store(folder, frames)
    found = {"write_ms": (time.perf_counter() - begin) / len(frames) * 1e3}
    order = np.random.default_rng(1).permutation(len(frames))
    for name in ("cold", "warm", "warm"):
        if name == "cold":
            forget(folder)
        read = reader()
        begin, busy = time.perf_counter(), time.process_time()
        total = sum(read(int(n)) for n in order)
        found[f"{name}_ms"] = (time.perf_counter() - begin) / len(frames) * 1e3
        found[f"{name}_cpu_ms"] = (time.process_time() - busy) / len(frames) * 1e3
    files = [path for path in folder.rglob("*") if path.is_file()]
    found["bytes_over_payload"] = sum(path.stat().st_size for path in files) / total
    found["files"] = len(files)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="an empty folder on the disk to measure; emptied again at the end")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args()
    stores = {
        "memory-mapped safetensors blocks": blocks_store,
        "LMDB": lmdb_store,
        "zarr v3, sharded": zarr_store(True),
        "zarr v3, a file per chunk": zarr_store(False),
    }
    frames, results = records(args.frames), {}
    for number, (name, store) in enumerate(stores.items()):
        place = Path(args.folder) / f"store-{number}"
        try:
            results[name] = {key: round(value, 3) for key, value in measure(place, frames, store).items()}
        finally:
            shutil.rmtree(place, ignore_errors=True)
        print(name, json.dumps(results[name]))
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
