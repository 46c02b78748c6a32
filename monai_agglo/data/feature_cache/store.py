"""One block of a cache: a safetensors file of fixed layout, filled record by record, crash-safe.

The file is created at full size under a temporary name. The checksum of a record is written last, so that another
writer can resume after a crash. The file is renamed when all records are complete.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["QUALITY", "Block", "FeatureCacheError", "Record", "full_disk", "read_json"]

DTYPES = {"I8": np.dtype(np.int8), "F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "U32": np.dtype("<u4")}
CODES = {"int8": "I8", "fp16": "F16"}
QUALITY = ("cosine_min", "cosine_mean", "energy_kept", "energy")


class FeatureCacheError(ValueError):
    """Raised when a feature cache cannot be built or read; the message names the file and the remedy."""


@dataclass(frozen=True)
class Record:
    """Stored data of one frame.

    Attributes:
        codes: (k, h, w) int8 or float16.
        scale: (h, w) float16; None for fp16.
        quality: (4,) float32, see :data:`QUALITY`.
    """

    codes: np.ndarray
    scale: np.ndarray | None
    quality: np.ndarray

    def parts(self) -> dict[str, np.ndarray]:
        """Arrays by their names in the file."""
        found = {"codes": self.codes, "scale": self.scale, "quality": self.quality}
        return {name: np.ascontiguousarray(array) for name, array in found.items() if array is not None}

    def checksum(self, frame: str) -> int:
        """CRC-32 of the record and its frame hash; never 0, the mark of an unwritten record."""
        value = zlib.crc32(frame.encode())
        for array in self.parts().values():
            value = zlib.crc32(array, value)
        return value or 1


class Block:
    """A file of records, in the order of its frames.

    Args:
        path: final path.
        frames: content hashes, in order.
        shape: channels, rows and columns of a record.
        precision: ``int8`` or ``fp16``.
        key: key of the store.
    """

    def __init__(self, path: Path, frames: list[str], shape: tuple[int, int, int], precision: str, key: str) -> None:
        self.path, self.frames, self.key = path, frames, key
        count, (channels, rows, columns) = len(frames), shape
        layout = {"checksum": ("U32", (count,)), "quality": ("F32", (count, len(QUALITY)))}
        if precision == "int8":
            layout["scale"] = ("F16", (count, rows, columns))
        layout["codes"] = (CODES[precision], (count, channels, rows, columns))
        about = {"format": "monai_agglo features", "key": key, "frames": " ".join(frames)}
        self._head, self._layout = _layout(layout, about)
        self._maps: dict[str, np.ndarray] | None = None

    @property
    def part(self) -> Path:
        """Temporary path during writing."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def bytes(self) -> int:
        """File size in bytes."""
        return max(end for _, _, _, end in self._layout.values())

    def complete(self) -> bool:
        """Whether the file has its final name."""
        return self.path.is_file()

    def check(self) -> None:
        """Check that the file exists, is complete and belongs to the store.

        Raises:
            FeatureCacheError: if not, with the remedy.
        """
        again = "delete this file and run the same build again"
        if not self.path.is_file():
            raise FeatureCacheError(f"{self.path} is missing from the feature cache: run the same build again")
        if self.path.stat().st_size != self.bytes:
            size = self.path.stat().st_size
            raise FeatureCacheError(f"{self.path} is cut off or damaged ({size} of {self.bytes} bytes): {again}")
        with open(self.path, "rb") as file:
            if file.read(len(self._head)) != self._head:
                raise FeatureCacheError(f"{self.path} does not hold what the cache's index says: {again}")

    def done(self) -> np.ndarray:
        """(count,) bool, True for written records; not verified in an unfinished file."""
        if self.complete():
            return np.ones(len(self.frames), bool)
        if not self._usable_part():
            return np.zeros(len(self.frames), bool)
        with open(self.part, "rb") as file:
            file.seek(self._layout["checksum"][2])
            return np.frombuffer(file.read(4 * len(self.frames)), "<u4") != 0

    def prepare(self) -> np.ndarray:
        """Create the temporary file, or resume one of another writer.

        Returns:
            (count,) bool, True for complete records.

        Raises:
            FeatureCacheError: if the disk is full.
        """
        if self._usable_part():
            found = self.done()
            for index in np.flatnonzero(found):
                found[index] = self._stored(self.part, int(index)) is not None
            return found
        try:
            with open(self.part, "wb") as file:
                file.write(self._head)
                _allocate(file, self.bytes)
        except OSError as error:
            self.part.unlink(missing_ok=True)
            raise full_disk(error, self.part, self.bytes) from error
        return np.zeros(len(self.frames), bool)

    def write(self, index: int, record: Record) -> None:
        """Write one record; its checksum comes last.

        Args:
            index: index of the frame in the block.
            record: the record.

        Raises:
            FeatureCacheError: if the disk is full.
        """
        checksum = np.array([record.checksum(self.frames[index])], "<u4")
        try:
            with open(self.part, "r+b", buffering=0) as file:
                for name, array in (*record.parts().items(), ("checksum", checksum)):
                    dtype, shape, start, _ = self._layout[name]
                    assert array.dtype == DTYPES[dtype] and array.size == int(np.prod(shape[1:]))
                    view = memoryview(array).cast("B")
                    file.seek(start + index * array.nbytes)
                    while view:
                        view = view[file.write(view) :]
        except OSError as error:
            raise full_disk(error, self.part, self.bytes) from error

    def finish(self) -> None:
        """Flush the file to disk and rename it to its final path."""
        with open(self.part, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(self.part, self.path)

    def read(self, index: int, verify: bool = False) -> Record:
        """One record, memory-mapped without a copy.

        Args:
            index: index of the frame in the block.
            verify: verify the checksum.

        Returns:
            The record; its arrays are read-only.

        Raises:
            FeatureCacheError: if the checksum differs.
        """
        if self._maps is None:
            self._maps = self._map(self.path)
        record = self._record(self._maps, index)
        if verify and record.checksum(self.frames[index]) != int(self._maps["checksum"][index]):
            raise FeatureCacheError(
                f"{self.path}: the stored features of frame {self.frames[index]} are damaged: delete this file and run "
                "the same build again"
            )
        return record

    def stored(self, index: int) -> Record | None:
        """A verified record of an unfinished file, or None."""
        return self._stored(self.part, index)

    def __getstate__(self) -> dict:
        return {**vars(self), "_maps": None}  # memory maps are per process

    def _usable_part(self) -> bool:
        if not self.part.is_file() or self.part.stat().st_size != self.bytes:
            return False
        with open(self.part, "rb") as file:
            return file.read(len(self._head)) == self._head

    def _map(self, path: Path) -> dict[str, np.ndarray]:
        whole = np.memmap(path, np.uint8, "r")
        return {
            name: whole[start:end].view(DTYPES[dtype]).reshape(shape)
            for name, (dtype, shape, start, end) in self._layout.items()
        }

    def _record(self, maps: dict[str, np.ndarray], index: int) -> Record:
        return Record(maps["codes"][index], maps["scale"][index] if "scale" in maps else None, maps["quality"][index])

    def _stored(self, path: Path, index: int) -> Record | None:
        maps = self._map(path)
        record = self._record(maps, index)
        return record if record.checksum(self.frames[index]) == int(maps["checksum"][index]) else None


def _layout(arrays: dict[str, tuple[str, tuple[int, ...]]], metadata: dict[str, str]):
    """Header of a safetensors file, and name -> (dtype, shape, start, end) with byte offsets in the file."""
    entries, end = {}, 0
    for name, (dtype, shape) in arrays.items():
        start, end = end, end + int(np.prod(shape)) * DTYPES[dtype].itemsize
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    text += b" " * (-len(text) % 64 + 56)  # data starts at a multiple of 64 bytes for alignment
    head = len(text).to_bytes(8, "little") + text
    places = {
        name: (e["dtype"], tuple(e["shape"]), *(len(head) + offset for offset in e["data_offsets"]))
        for name, e in entries.items()
    }
    return head, places


def _allocate(file, size: int) -> None:
    """Preallocate the disk space."""
    if hasattr(os, "posix_fallocate"):
        file.flush()
        os.posix_fallocate(file.fileno(), 0, size)
        return
    zeros = bytes(1 << 20)
    while (left := size - file.tell()) > 0:
        file.write(zeros[:left])


def full_disk(error: OSError, path: Path, needed: int) -> FeatureCacheError:
    """Error for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return FeatureCacheError(
            f"no room for {path} ({needed / 1e6:.1f} MB): {error.strerror}. Make room and run the same build again: it "
            "goes on where it stopped, nothing that was finished is lost"
        )
    return FeatureCacheError(f"cannot write {path}: {error.strerror or error}")


def read_json(path: Path) -> dict:
    """A JSON file of the cache.

    Raises:
        FeatureCacheError: if the file is absent or invalid.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FeatureCacheError(f"{path} is missing: this is no feature cache, or it was never finished") from None
    except (OSError, ValueError) as error:
        raise FeatureCacheError(f"{path} cannot be read ({error}): it is damaged, build the cache again") from None
