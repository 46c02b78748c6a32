"""One teacher's part of a cache: fixed weights, preprocessing, view and precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from monai_agglo.files import atomic_path
from monai_agglo.networks.teachers import Teacher

from .frames import FrameKey
from .store import Block, FeatureCacheError, full_disk, read_json
from .view import FeatureCodec, FeatureView, Moments, stored_mask

__all__ = ["VERSION", "TeacherStore", "check_version", "write_json"]

VERSION = 1
"""File format version; increased on incompatible changes."""


class TeacherStore:
    """A folder of blocks with an identity (``teacher.json``), a codec, a plan of frames and a header of statistics.

    Args:
        folder: its path.

    Attributes:
        identity: the teacher's data sheet and hashes, view, precision, shape and key.
        blocks: blocks by number, in the order of the plan.
        sizes: rows and columns of each frame, by hash.
        header: summary of the finished blocks: numbers, frames, retained variance, minimum cosine; else empty.

    Raises:
        FeatureCacheError: if a file is missing, damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = read_json(folder / "teacher.json")
        check_version(self.identity, folder / "teacher.json")
        self.name: str = self.identity["teacher"]["name"]
        self.key: str = self.identity["key"]
        self.precision: str = self.identity["precision"]
        self.view = FeatureView(**self.identity["view"])
        self.shape: tuple[int, int, int] = tuple(self.identity["shape"])
        self.blocks: list[Block] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        self.header: dict[str, Any] = {}
        self.statistics = Moments()
        self.read_plan()
        self.read_header()

    @staticmethod
    def key_of(teacher: Teacher, view: FeatureView, precision: str) -> dict[str, Any]:
        """Everything except the frame that the stored features depend on."""
        return {
            "version": VERSION,
            "name": teacher.spec.name,
            "weights_hash": teacher.weights_hash(),
            "preprocessing_hash": teacher.spec.preprocessing_hash(),
            "view": asdict(view),
            "precision": precision,
        }

    @classmethod
    def create(cls, cache: Path, teacher: Teacher, view: FeatureView, precision: str) -> TeacherStore:
        """Open the folder of a teacher, view and precision; created if missing."""
        what = cls.key_of(teacher, view, precision)
        key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
        folder = cache / f"{teacher.spec.name}-{key}"
        if not (folder / "teacher.json").is_file():
            identity = {
                "format": "monai_agglo feature cache",
                **what,
                "key": key,
                "shape": view.shape(teacher.spec),
                "teacher": teacher.describe(),
            }
            write_json(folder / "teacher.json", identity)
        return cls(folder)

    def lock(self) -> FileLock:
        """Lock for changes of plan, codec and header."""
        return FileLock(self.folder / "plan.lock")

    def block_lock(self, number: int) -> FileLock:
        """Lock of the process that fills a block; released by the system when the process ends."""
        (self.folder / "locks").mkdir(exist_ok=True)
        return FileLock(self.folder / "locks" / f"{number:06d}.lock")

    def read_plan(self) -> None:
        """Read the assignment of frames to blocks."""
        path = self.folder / "frames.json"
        if not path.is_file():
            if any((self.folder / "blocks").glob("*.safetensors*")):
                raise FeatureCacheError(
                    f"{path} is missing, which says what was stored: delete the folder {self.folder} and build it again"
                )
            return
        try:
            plan = [[FrameKey(*entry) for entry in block] for block in read_json(path)["blocks"]]
        except (KeyError, TypeError) as error:
            raise FeatureCacheError(f"{path} is damaged: build the cache again in another folder") from error
        for number in range(len(self.blocks), len(plan)):
            frames = [frame.hash for frame in plan[number]]
            path = self.folder / "blocks" / f"{number:06d}.safetensors"
            self.blocks.append(Block(path, frames, self.shape, self.precision, self.key))
            self.sizes.update({frame.hash: (frame.rows, frame.columns) for frame in plan[number]})

    def add_frames(self, frames: Iterable[FrameKey], frames_per_block: int) -> None:
        """Plan blocks for new frames, without duplicates."""
        with self.lock():
            self.read_plan()
            new = list({frame.hash: frame for frame in frames if frame.hash not in self.sizes}.values())
            if new:
                plan = [[FrameKey(f, *self.sizes[f]) for f in block.frames] for block in self.blocks]
                plan += [new[i : i + frames_per_block] for i in range(0, len(new), frames_per_block)]
                write_json(self.folder / "frames.json", {"version": VERSION, "blocks": plan})
                self.read_plan()
        (self.folder / "blocks").mkdir(exist_ok=True)

    def mask(self, frame: str) -> torch.Tensor:
        """(h, w) valid area of each stored cell, in [0, 1]."""
        return stored_mask(self.sizes[frame], self.shape[1], self.identity["teacher"])[1]

    def calibrated(self) -> bool:
        """Whether a codec exists.

        Raises:
            FeatureCacheError: if it is missing but blocks encoded with it exist.
        """
        path = self.folder / "codec.safetensors"
        if not path.is_file() and any(block.complete() or block.part.is_file() for block in self.blocks):
            raise FeatureCacheError(f"{path} is missing: {self._start_again()}")
        return path.is_file()

    def codec(self) -> FeatureCodec:
        """The codec.

        Raises:
            FeatureCacheError: if it is damaged or missing.
        """
        path = self.folder / "codec.safetensors"
        if not self.calibrated():
            raise FeatureCacheError(f"{path} is missing: run the build again")
        tensors, facts = _read_tensors(path, self._start_again())
        return FeatureCodec(precision=self.precision, **facts, **tensors)

    def _start_again(self) -> str:
        return f"what was stored with it cannot be read, delete the folder {self.folder} and run the same build again"

    def write_codec(self, codec: FeatureCodec) -> None:
        """Store the codec."""
        tensors = {name: value for name, value in vars(codec).items() if isinstance(value, torch.Tensor)}
        facts = {name: getattr(codec, name) for name in ("retained", "frames", "gain")}
        _write_tensors(self.folder / "codec.safetensors", tensors, facts)

    def write_statistics(self, number: int, block: Block, codec: FeatureCodec, stored: bool = True) -> None:
        """Accumulate the statistics of a block from its decoded cells, before it is renamed."""
        moments, quality = Moments(), []
        for index, frame in enumerate(block.frames):
            record = block.stored(index) if stored else block.read(index, verify=True)
            if record is None:
                raise FeatureCacheError(f"{block.part} changed while it was being written: run the same build again")
            codes, scale = torch.tensor(record.codes), None if record.scale is None else torch.tensor(record.scale)
            moments.add(codec.unpack(codes[None], None if scale is None else scale[None])[0], self.mask(frame))
            quality.append(torch.tensor(record.quality))
        least, _, kept, energy = torch.stack(quality).double().T
        cosines = {"cosine_min": float(least.min()), "energy_kept": float(kept.sum()), "energy": float(energy.sum())}
        facts = {"count": moments.count, "frames": len(block.frames), **cosines}
        _write_tensors(self._statistics_path(number), _tensors_of(moments), facts)

    def finish(self, codec: FeatureCodec) -> None:
        """Update the header to all finished blocks, each counted once."""
        with self.lock():
            self.read_plan()
            self.read_header()
            header = self.header or {"blocks": [], "frames": 0, "cosine_min": 1.0, "energy_kept": 0.0, "energy": 0.0}
            done = [n for n, block in enumerate(self.blocks) if block.complete()]
            for number in sorted(set(done) - set(header["blocks"])):
                path = self._statistics_path(number)
                if not path.is_file():
                    self.write_statistics(number, self.blocks[number], codec, stored=False)
                tensors, facts = _read_tensors(path)
                self.statistics.merge(Moments(facts["count"], tensors["mean"], tensors["covariance"]))
                header["blocks"].append(number)
                header["cosine_min"] = min(header["cosine_min"], facts["cosine_min"])
                for name in ("frames", "energy_kept", "energy"):
                    header[name] += facts[name]
            header["count"] = self.statistics.count
            header["retained_variance"] = header["energy_kept"] / max(header["energy"], 1e-30)
            statistics = _tensors_of(self.statistics)
            statistics["covariance"] = self.statistics.covariance()
            _write_tensors(self.folder / "header.safetensors", statistics, {"version": VERSION, **header})
            for number in done:
                self._statistics_path(number).unlink(missing_ok=True)
                (self.folder / "locks" / f"{number:06d}.lock").unlink(missing_ok=True)
            self.header = header

    def read_header(self) -> None:
        """Read the statistics of the finished blocks, if any."""
        path = self.folder / "header.safetensors"
        if not path.is_file():
            return
        tensors, header = _read_tensors(path)
        check_version(header, path)
        self.header = header
        scatter = tensors["covariance"] * max(1, header["count"] - 1)
        self.statistics = Moments(header["count"], tensors["mean"], scatter)

    def finished(self) -> Iterator[tuple[int, Block]]:
        """Blocks included in the header."""
        for number in self.header.get("blocks", ()):
            yield number, self.blocks[number]

    def _statistics_path(self, number: int) -> Path:
        return self.folder / "statistics" / f"{number:06d}.safetensors"


def check_version(content: dict[str, Any], path: Path) -> None:
    """Check the file format version.

    Raises:
        FeatureCacheError: if it differs, with both versions.
    """
    if content.get("version") != VERSION:
        raise FeatureCacheError(
            f"{path} was written by another version of the cache ({content.get('version')}, this one reads {VERSION}): "
            "build the cache again in another folder"
        )


def _tensors_of(moments: Moments) -> dict[str, torch.Tensor]:
    """Here ``covariance`` is the scatter, not yet divided by the count."""
    return {"mean": moments.mean, "covariance": moments.scatter}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically.

    Raises:
        FeatureCacheError: if the disk is full.
    """
    try:
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(content, indent=1 if len(content) > 3 else None), encoding="utf-8")
    except OSError as error:
        raise full_disk(error, path, 0) from error


def _write_tensors(path: Path, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
    size = sum(tensor.nbytes for tensor in tensors.values())
    try:
        with atomic_path(path) as partial:
            contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
            save_file(contiguous, partial, metadata={"facts": json.dumps(facts)})
    except OSError as error:
        raise full_disk(error, path, size) from error
    except SafetensorError as error:
        raise FeatureCacheError(f"cannot write {path} ({size / 1e6:.1f} MB; is the disk full?): {error}") from error


def _read_tensors(
    path: Path, remedy: str = "delete this file and run the same build again"
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FeatureCacheError(f"{path} is cut off or damaged ({error}): {remedy}") from error
