"""The tasks of the study: square grey frames, masks and parts, from the real sets and the phantom."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from monai_agglo.files import atomic_path

from .phantom_task import PHANTOM, phantom_arrays, phantom_fingerprint
from .sources import SOURCES, find_pairs, licence, may_ship, read_masks, source_of
from .splits import check_leakage, split

__all__ = ["PictureSize", "Task", "load_tasks", "shared_folder", "square"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureSize:
    """Sides of what the study works on, in pixels.

    Attributes:
        frame: of the square frames that teachers see.
        student: of the frames that students see and of the masks; ``frame`` must be a multiple of it.
    """

    frame: int = 512
    student: int = 256

    def __post_init__(self) -> None:
        if self.student % 32 or self.frame % self.student:
            raise ValueError(f"student frames must be multiples of 32 that divide the teachers' frames, not {self}")


@dataclass(frozen=True)
class Task:
    """One segmentation task, or a set of images without one.

    Attributes:
        name: of the set, or ``phantom``.
        structures: names of the mask channels.
        frames: uint8 (N, frame, frame), grey.
        masks: uint8 0/1 (N, S, student, student); empty where there is no task.
        sources: per image the patient or original.
        parts: per image ``train``, ``val``, ``test``; or ``train`` throughout where there is no task.
        licence: as the source states it.
        shippable: whether a student that is given away may have seen these images.
        split_by: what a source is.
        left_out: why there is no task; empty for a task.
    """

    name: str
    structures: tuple[str, ...]
    frames: np.ndarray
    masks: np.ndarray
    sources: tuple[str, ...]
    parts: tuple[str, ...]
    licence: str
    shippable: bool
    split_by: str
    left_out: str = ""

    def indices(self, part: str) -> list[int]:
        """Positions of the images of a part."""
        return [index for index, own in enumerate(self.parts) if own == part]

    def student_frames(self, indices: Sequence[int], size: int) -> np.ndarray:
        """uint8 (n, size, size): averages over blocks of pixels of the teachers' frames."""
        step = self.frames.shape[-1] // size
        chosen = self.frames[list(indices)]
        if step == 1:
            return chosen
        blocks = chosen.reshape(len(chosen), size, step, size, step)
        return np.floor(blocks.mean((2, 4)) + 0.5).astype(np.uint8)

    def describe(self) -> str:
        """One line for people."""
        if self.left_out:
            return f"{self.name}: no task, {self.left_out}; its {len(self.frames)} images are distilled on only"
        counts = " / ".join(f"{len(self.indices(part))}" for part in ("train", "val", "test"))
        sources = " / ".join(
            str(len({self.sources[i] for i in self.indices(part)})) for part in ("train", "val", "test")
        )
        return f"{self.name}: {counts} images, {sources} sources, by {self.split_by}; {self.licence}"


def shared_folder(root: str | os.PathLike | None = None) -> Path:
    """The folder of the real sets.

    Args:
        root: of shared files; the environment variable AGGLO_SHARED, or ``../shared``, when None.

    Returns:
        Its folder ``data``.

    Raises:
        FileNotFoundError: if there is none.
    """
    folder = Path(root or os.environ.get("AGGLO_SHARED") or "../shared") / "data"
    if not folder.is_dir():
        raise FileNotFoundError(f"no real images in {folder}: name the folder above it in AGGLO_SHARED")
    return folder


def square(picture: np.ndarray, side: int) -> np.ndarray:
    """Pad to a square evenly with zeros, then scale to ``side`` (areas are averaged, enlarging is bilinear).

    Args:
        picture: (H, W) uint8 or float32.
        side: wanted.

    Returns:
        (side, side) of the same type.
    """
    rows, cols = picture.shape
    longer = max(rows, cols)
    above, left = (longer - rows) // 2, (longer - cols) // 2
    padded = np.pad(picture, ((above, longer - rows - above), (left, longer - cols - left)))
    if longer == side:
        return padded
    return cv2.resize(padded, (side, side), interpolation=cv2.INTER_AREA if longer > side else cv2.INTER_LINEAR)


def load_tasks(
    data: Path,
    size: PictureSize,
    cache: Path,
    names: Sequence[str] | None = None,
    phantom: tuple[int, int] = (24, 8),
    seed: int = 0,
    log: Callable[[str], None] = logger.info,
) -> dict[str, Task]:
    """Read the sets that are there, and draw the phantom's.

    Args:
        data: folder of the sets.
        size: of frames and masks.
        cache: where prepared arrays are kept; the second reading takes a second.
        names: of sets and ``phantom``; all when None.
        phantom: patients, and frames of each.
        seed: of the split.
        log: called with a line per data set.

    Returns:
        Tasks, and the sets without a task, by name.

    Raises:
        FileNotFoundError: if a set that is named, or every set, is missing.
        ValueError: if a name is unknown, or a source would be in two parts.
    """
    wanted = list(names) if names is not None else [*(n for n in SOURCES if (data / n).is_dir()), PHANTOM]
    if unknown := set(wanted) - {*SOURCES, PHANTOM}:
        raise ValueError(f"no tasks {', '.join(sorted(unknown))}; known are {', '.join([*SOURCES, PHANTOM])}")
    if names is None and wanted == [PHANTOM]:
        raise FileNotFoundError(f"{data} holds none of the study's sets ({', '.join(SOURCES)})")
    tasks = {}
    for name in wanted:
        tasks[name] = _phantom(size, cache, phantom, seed) if name == PHANTOM else _real(data / name, size, cache, seed)
        log(tasks[name].describe())
    return tasks


def _real(folder: Path, size: PictureSize, cache: Path, seed: int) -> Task:
    """One real set."""
    about = SOURCES[folder.name]
    terms = licence(folder)
    pairs = find_pairs(folder)
    sources = [source_of(image, folder) for image, _ in pairs]

    def make() -> dict[str, np.ndarray]:
        frames, masks = [], []
        for image, mask in pairs:
            with Image.open(image) as file:
                grey = np.asarray(file.convert("RGB").convert("L"))
            labels = read_masks(mask, folder.name)
            if labels.shape[1:] != grey.shape:
                raise ValueError(f"{mask} has {labels.shape[1:]} pixels, its image {grey.shape}")
            frames.append(square(grey, size.frame))
            masks.append([square(label.astype(np.float32), size.student) > 0.5 for label in labels])
        return {"frames": np.stack(frames), "masks": np.stack(masks).astype(np.uint8)}

    files = [(str(p.relative_to(folder)), p.stat().st_size) for pair in pairs for p in pair]
    arrays = _prepared(cache, folder.name, {"size": asdict(size), "files": files, "version": 1}, make)
    if about.left_out:
        parts = ["train"] * len(pairs)
    elif about.parts:
        relative = [image.relative_to(folder).as_posix() for image, _ in pairs]
        parts = [next(part for start, part in about.parts if path.startswith(start)) for path in relative]
    else:
        parts = split(folder.name, sources, seed)
    check_leakage(folder.name, sources, parts)
    if not about.left_out:
        check_copies(folder.name, arrays["frames"], parts)
    return Task(
        folder.name, about.structures, arrays["frames"], arrays["masks"], tuple(sources), tuple(parts),
        terms, may_ship(terms), about.split_by, about.left_out,
    )  # fmt: skip


def _phantom(size: PictureSize, cache: Path, phantom: tuple[int, int], seed: int) -> Task:
    """The phantom's task: twelve structures."""
    patients, frames = phantom
    key = {"size": asdict(size), "patients": patients, "frames": frames, **phantom_fingerprint()}
    arrays = _prepared(cache, PHANTOM, key, lambda: phantom_arrays(patients, frames, size.frame, size.student))
    sources = [f"patient{number}" for number in arrays["patients"]]
    parts = split(PHANTOM, sources, seed)
    check_leakage(PHANTOM, sources, parts)
    from monai_agglo.swallow import TARGET_NAMES

    return Task(
        PHANTOM, TARGET_NAMES, arrays["frames"], arrays["masks"], tuple(sources), tuple(parts),
        "Apache-2.0 (drawn by this project)", True, "patient",
    )  # fmt: skip


def check_copies(name: str, frames: np.ndarray, parts: Sequence[str]) -> None:
    """Make sure that no image is in two parts under two names.

    Raises:
        ValueError: if one is.
    """
    first: dict[bytes, str] = {}
    for index, (frame, part) in enumerate(zip(frames, parts)):
        if first.setdefault(hashlib.sha256(frame.tobytes()).digest(), part) != part:
            raise ValueError(f"{name}: image {index} is a copy of one in another part")


def _prepared(cache: Path, name: str, key: dict, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays by content key, made once; a file that cannot be read is made again."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{name}-{digest}.npz"
    if path.is_file():
        try:
            with np.load(path) as file:
                return {array: file[array] for array in file.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            logger.warning("%s is damaged (%s) and is made again", path, error)
    arrays = make()
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)
    return arrays
