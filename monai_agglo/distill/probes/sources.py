"""The twelve sets of real images with masks: what is in them, whose they are, and what must not be split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["SOURCES", "TaskSource", "find_pairs", "licence", "may_ship", "read_masks", "source_of"]


@dataclass(frozen=True)
class TaskSource:
    """A folder of images and masks.

    Attributes:
        name: of the folder.
        structures: what the mask channels are.
        source: regular expression over an image's path in the folder; its groups, joined, name the patient or the
            original image it was made of. Images of one source are never in two parts.
        split_by: in words, what ``source`` finds.
        parts: folders that are the authors' own parts; then ``source`` is not used for splitting.
        left_out: why there is no task here; its images may still be distilled on, as they are tested nowhere.
    """

    name: str
    structures: tuple[str, ...]
    source: str
    split_by: str
    parts: tuple[tuple[str, str], ...] = ()
    left_out: str = ""


SOURCES: dict[str, TaskSource] = {
    source.name: source
    for source in (
        TaskSource(
            "ct_aorta", ("aorta",), r"(\d+)_\d+\.png", "scan",
            left_out="all 36 slices are of one scan (10002): both sides of any split would show the same person",
        ),
        TaskSource("ct_spleen", ("spleen",), r"_(spleen_\d+)\.jpg", "patient"),
        TaskSource("cxr_lung_shenzhen_montgomery", ("lungs",), r"([A-Z]+_\d+)_\d\.png", "patient"),
        TaskSource("fundus_disc_cup_drishti", ("disc", "cup"), r"(\d+)\.png", "original image"),
        TaskSource("mammogram_cdd_cesm", ("lesion",), r"_(P\d+)_", "patient"),
        TaskSource(
            "mr_brain_tumour_figshare", ("tumour",), r"(\d+)\.png", "slice",
            left_out="neighbouring slices of the same heads, and no name tells which belong together",
        ),
        TaskSource(
            "mr_lumbar_spine", ("vertebrae",), r"(\d+)_\d+\.png", "series",
            left_out="names tell the series, but a person has several (two contrasts of one spine are among them)",
        ),
        TaskSource(
            "mr_nasopharyngeal_carcinoma", ("tumour",), r"(\d+)\.jpg", "slice",
            left_out="slices by running number (10955 and 10956 are neighbours): patients cannot be told apart",
        ),
        TaskSource("retina_chasedb1", ("vessels",), r"Image_(\d+)[LR]\.jpg", "child (both eyes)"),
        TaskSource("us_breast_busbra", ("lesion",), r"(\d{4})-[lrs]\.png", "case"),
        TaskSource("us_carotid_ccaus", ("artery",), r"(\d+)VAS_slice_\d+\.png", "recording"),
        TaskSource(
            "xca_arcade_stenosis", ("stenosis",), r"(train|val|test)/images/(\d+)\.png", "the authors' parts",
            parts=(("train/", "train"), ("val/", "val"), ("test/", "test")),
        ),
    )
}  # fmt: skip


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Images of a set with their masks.

    Args:
        folder: of the set.

    Returns:
        Pairs in the order of their names.

    Raises:
        FileNotFoundError: if there are no images, or an image has no mask.
    """
    if folder.name == "retina_chasedb1":  # the first observer's masks, as is the custom
        pairs = [(image, image.with_name(f"{image.stem}_1stHO.png")) for image in folder.glob("*.jpg")]
    else:
        suffix = "_mask" if folder.name == "mr_brain_tumour_figshare" else ""
        images = [path for path in folder.rglob("images/*") if path.suffix in (".png", ".jpg")]
        pairs = [(image, image.parents[1] / "masks" / f"{image.stem}{suffix}{image.suffix}") for image in images]
    if not pairs:
        raise FileNotFoundError(f"{folder} holds no images: is it one of the study's sets ({', '.join(SOURCES)})?")
    for image, mask in pairs:
        if not mask.is_file():
            raise FileNotFoundError(f"{image} has no mask {mask}")
    return sorted(pairs)


def source_of(image: Path, folder: Path) -> str:
    """The patient or original that an image of a set belongs to.

    Raises:
        ValueError: if the name does not tell, which must not pass silently: it would be a leak.
    """
    relative = image.relative_to(folder).as_posix()
    found = re.search(SOURCES[folder.name].source + r"|(?!)", relative)
    if found is None:
        raise ValueError(f"{relative} in {folder.name}: the name does not tell what it was made of")
    return "_".join(found.groups())


def read_masks(path: Path, name: str) -> np.ndarray:
    """The masks of an image.

    JPEG and antialiased masks are cut at 127. Colours mean: fundus red is the cup and yellow the rim of the disc around
    it, vertebrae have a colour each, breast lesions are green when benign and red when malignant; lesions are one task.

    Args:
        path: of the mask.
        name: of the set.

    Returns:
        bool (structures, H, W).
    """
    with Image.open(path) as file:
        red, green, blue = np.moveaxis(np.asarray(file.convert("RGB")) > 127, -1, 0)
    if name == "fundus_disc_cup_drishti":
        return np.stack([red, red & ~green])
    return (red | green | blue)[None]


def licence(folder: Path) -> str:
    """The licence line of a set's SOURCE.md.

    Raises:
        FileNotFoundError: without one.
    """
    path = folder / "SOURCE.md"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no SOURCE.md, so nobody knows its licence")
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("Licence:").strip() for line in lines if line.startswith("Licence:")), "none stated")


def may_ship(licence: str) -> bool:
    """Whether weights that have seen such images may be given away: CC0 or CC BY, stated by the source outright.

    Args:
        licence: words of SOURCE.md; ``(*)`` marks what the source does not state.

    Returns:
        True for CC0 and CC BY; False for share-alike, non-commercial, unstated and all others.
    """
    return "(*)" not in licence and re.search(r"\bCC0\b|\bCC BY\b(?!-)", licence) is not None
