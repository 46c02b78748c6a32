"""The images of a distillation: a datalist, any folders of images and cines, or the embedded phantom."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset
from monai.transforms import Compose, LoadImaged

from monai_agglo.bundle import ensure_dataset
from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.search import Case, find_cases
from monai_agglo.data import CineFrames, CineReader, FitFramesd, ScaleCineIntensityd, load_datalist
from monai_agglo.pictures.contact_sheet import pick_frames

__all__ = ["DistillationData"]

logger = logging.getLogger(__name__)

PARTS = ("training", "validation", "test")
NO_IMAGE = re.compile(r"(?i)(^|[/\\])(masks?|labels?|annotations?)([/\\]|\.|$)|_(mask|label)s?\.|_(1st|2nd)HO\.")
"""Files that are drawings over an image, by their names."""
NOT_STATED = "not stated where the images are"


class PickFrames:
    """At most ``count`` frames of a (1, H, W, T) cine under ``image``, evenly spread; all when None."""

    def __init__(self, count: int | None) -> None:
        self.count = count

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        image = data["image"]
        if self.count is None or image.shape[-1] <= self.count:
            return data
        return {**data, "image": image[..., pick_frames(image.shape[-1], self.count)]}


class DistillationData:
    """Finds the images and says which of them are held out.

    A folder with a ``datalist.json`` is split as that says. Other folders, and all files together, are split by patient
    as far as files tell one (the pseudonym of a DICOM file's patient, else of the file): a fixed share, chosen by hash,
    is held out. Masks and labels in a folder, known by their names, are left out.

    Args:
        dataset_dir: a folder or file, or several. A folder that is ``phantom_dir`` is filled with phantoms.
        phantom_dir: the default folder; None where there is none.
        patients: phantom patients.
        frames: frames per phantom study.
        seed: of the phantom.
        held_out: share of the patients that are held out where no datalist says so.
        size: longer side that frames are scaled to before teachers and student see them, in pixels.
        frames_per_cine: of each cine, evenly spread; all when None.
        per_folder: at most so many images or cines of each folder, evenly spread over its names; all when None.
        phantom_options: further arguments of :func:`monai_agglo.bundle.ensure_dataset`.
        allow_none_held_out: where there are too few images to hold some out, validate on the training images;
            :meth:`describe` says so.

    Raises:
        ValueError: when there is nothing to read, or too little to hold some out.
    """

    def __init__(
        self,
        dataset_dir: str | os.PathLike | Sequence[str | os.PathLike],
        phantom_dir: str | os.PathLike | None = None,
        patients: int = 12,
        frames: int = 8,
        seed: int = 1,
        held_out: float = 0.2,
        size: int = 512,
        frames_per_cine: int | None = 16,
        per_folder: int | None = None,
        phantom_options: dict[str, Any] | None = None,
        allow_none_held_out: bool = False,
    ) -> None:
        single = isinstance(dataset_dir, (str, os.PathLike))
        folders = [dataset_dir] if single else list(dataset_dir)  # type: ignore[arg-type]
        self.folders = [Path(folder) for folder in folders]  # type: ignore[arg-type]
        if not self.folders:
            raise ValueError("there is no folder of images: name one with --dataset_dir")
        phantom = None if phantom_dir is None else Path(phantom_dir).absolute()
        self.synthetic = [folder.absolute() for folder in self.folders] == [phantom]
        if self.synthetic and phantom_dir is not None:
            options = {"patients": patients, "frames": frames, "seed": seed, "splits": (0.6, 0.2, 0.2)}
            ensure_dataset(phantom_dir, phantom_dir, **{**options, **(phantom_options or {})})
        if not 0 < held_out < 1:
            raise ValueError(f"held_out is a share of the patients between 0 and 1, not {held_out}")
        self.size, self.frames_per_cine = size, frames_per_cine
        self.parts: dict[str, list[Any]] = {part: [] for part in PARTS}
        for folder in self.folders:
            if (folder / "datalist.json").is_file():
                for part in PARTS:
                    items = load_datalist(folder, part, optional=True)
                    self.parts[part] += _spread([item["image"] for item in items], per_folder)
            elif not folder.is_file():
                cases = [case for case in find_cases(folder) if not NO_IMAGE.search(_inside(case, folder))]
                self._split(_spread(cases, per_folder), held_out)
        self._split([case for path in self.folders if path.is_file() for case in find_cases(path)], held_out)
        self.held_out = bool(self.parts["validation"])
        if not self.held_out and allow_none_held_out:
            self.parts["validation"] = self.parts["training"]
        for part in ("training", "validation"):
            if not self.parts[part]:
                where = ", ".join(map(str, self.folders))
                raise ValueError(f"{where}: there are too few images to train on some and hold others out")

    def frames(self, part: str) -> CineFrames:
        """The frames of a part, scaled to [0, 1] cine by cine, as a source that a cache indexes once.

        Args:
            part: ``training``, ``validation`` or ``test``.

        Returns:
            The frames.

        Raises:
            ValueError: when there are no images in this part.
        """
        images = self.parts.get(part)
        if not images:
            raise ValueError(
                f"there are no images under {part!r}: only a data set with a datalist.json has a test part"
            )
        load = Compose(
            [
                LoadImaged("image", reader=CineReader, ensure_channel_first=True),
                PickFrames(self.frames_per_cine),
                FitFramesd("image", self.size),
                ScaleCineIntensityd("image"),
            ]
        )
        frames = CineFrames(Dataset([{"image": image} for image in images], load))
        frames.fingerprint = self._fingerprint(images)
        return frames

    @property
    def fingerprint(self) -> str:
        """Changes with any of the files, and with what is read of them."""
        return self._fingerprint([image for part in PARTS for image in self.parts[part]])

    def _fingerprint(self, images: Sequence[Any]) -> str:
        files = [Path(p) for image in images for p in (image if isinstance(image, list) else [image])]
        stamps = [(str(f.absolute()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        return hashlib.sha256(json.dumps([self.size, self.frames_per_cine, stamps]).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What the images are, for cards and trackers; no path and no patient is in it.

        Returns:
            ``images`` (names of the folders, or phantom), ``licences`` by name, the number of files per part, and
            ``held_out`` where nothing is.
        """
        licences = {"phantom": "CC0-1.0 (synthetic)"} if self.synthetic else {}
        sources = dict.fromkeys(path.parent if path.is_file() else path for path in self.folders)
        for number, folder in enumerate([] if self.synthetic else sources):
            stated = _licence(folder)
            # only a set that comes with its terms is public, and may be named
            name = _set_name(folder) if stated else f"folder {number + 1}"
            licences[name] = stated or NOT_STATED
        return {
            "images": list(licences),
            "licences": licences,
            "cases": {part: len(images) for part, images in self.parts.items()},
            **({} if self.held_out else {"held_out": "none: too few images, validation is on the training images"}),
        }

    def _split(self, cases: Sequence[Case], held_out: float) -> None:
        found: list[tuple[float, Any]] = []
        for case in cases:
            paths = [str(path) for path in case.paths]
            image = paths if len(paths) > 1 else paths[0]
            try:
                whose = str(open_cine(image).meta["pseudonym"])
            except ValueError as error:
                logger.error("left out: %s", " ".join(str(error).split()))
                continue
            found.append((int(hashlib.sha256(whose.encode()).hexdigest()[:8], 16) / 16**8, image))
        if not found:
            return
        places = sorted({place for place, _ in found})
        border = places[min(len(places) - 1, max(1, round(len(places) * held_out)))]
        for place, image in found:
            self.parts["validation" if place < border else "training"].append(image)


def _inside(case: Case, folder: Path) -> str:
    path = case.paths[0]
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def _spread(items: Sequence[Any], count: int | None) -> list[Any]:
    if count is None or len(items) <= count:
        return list(items)
    return [items[int(i)] for i in torch.linspace(0, len(items) - 1, count).round().tolist()]


def _set_name(folder: Path) -> str:
    return folder.parent.name if folder.name.lower() in ("images", "image") else folder.name


def _licence(folder: Path) -> str:
    """The line of the set's SOURCE.md that states its licence; empty when there is none."""
    for place in (folder, folder.parent):
        file = place / "SOURCE.md"
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                if match := re.match(r"(?i)\W*licen[cs]e\W+(.+)", line):
                    return match[1].strip()
    return ""
