"""Any folder of pictures with masks as a segmentation task: what is drawn in them, and whose they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.datalist import MASK_FOLDER, WORDS
from monai_agglo.cine.errors import check_size
from monai_agglo.cine.png_masks import MODES
from monai_agglo.pictures.drawing import to_grey8

from .splits import check_leakage, split
from .tasks import Task, check_copies, square

__all__ = ["load_picture_task"]

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
IMAGES = {*PICTURES, ".dcm"}
MASK_NAME = re.compile(rf"(?P<image>.+)[-_. ]{WORDS}", re.I)
PARTS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
}
"""Folders that are parts already; nothing is chosen here, so that validation images are trained on."""
MOST_COLOURS = 16
"""Masks of more colours are antialiased or went through JPEG."""

COLOURED = 1 << 40
"""Marks a colour, so that green is not taken for the grey value 65280."""


def load_picture_task(
    folder: str | os.PathLike,
    size: int = 256,
    patient: str | None = None,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> Task:
    """Read pictures and their masks, and split them by patient.

    A mask is called after its picture: ``masks/a.png`` (or labels, seg) beside ``images/a.png`` or ``a.png``, or
    ``a_mask.png``. Every colour or grey value but black is a structure; masks of more than 16 are antialiased, and what
    is brighter than half is one structure. Folders called ``train``, ``val`` and ``test`` are kept as parts.

    Args:
        folder: searched with its sub-folders; PNG, JPEG, BMP, TIFF, and DICOM stills (``.dcm``) as pictures.
        size: side of the squares that pictures and masks are padded and scaled to, a multiple of 32.
        patient: regular expression over a picture's path in the folder; its groups, joined, name the patient. Pictures
            of one patient are never in two parts. Every picture is a patient of its own when None.
        seed: of the split.
        log: called with a line per finding.

    Returns:
        The task, with the parts ``train`` and ``test``.

    Raises:
        ValueError: without pictures that have masks, for masks that do not fit, or where the pattern does not find the
            patient of a picture; one sentence.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(f"{folder} is no folder")
    if size < 32 or size % 32:
        raise ValueError(f"a student's frames are a multiple of 32 pixels a side, not {size}")
    pairs, alone = _pairs(root)
    if not pairs:
        raise ValueError(
            f"{folder} holds no pictures with masks: they are looked for as masks/NAME.png beside images/NAME.png, or "
            "as NAME_mask.png"
        )
    if alone:
        log(f"{alone} pictures have no mask and are left out")
    names = [image.relative_to(root).as_posix() for image, _ in pairs]
    sources = [_patient(name, patient) for name in names]
    colours = _colours([mask for _, mask in pairs])
    frames, masks = [], []
    for image, path in pairs:
        frame = _frame(image)
        drawn = _drawn(path, colours)
        if drawn.shape[1:] != frame.shape:
            has, wanted = (" x ".join(map(str, shape)) for shape in (drawn.shape[1:], frame.shape))
            raise ValueError(f"{path} has {has} pixels, its picture {wanted}")
        frames.append(square(frame, size))
        masks.append([square(own.astype(np.float32), size) > 0.5 for own in drawn])
    parts = [PARTS[part] if part else "" for part in map(_part, names)]
    if not all(parts) or len(set(parts)) < 2:
        parts = ["test" if part == "test" else "train" for part in split(root.name, sources, seed)]
        by = "patient" if patient else "picture (name the patients, if there are several pictures of one)"
    else:
        by = "the folders"
    check_leakage(root.name, sources, parts)
    squares = np.stack(frames)
    check_copies(root.name, squares, parts)
    structures = ("foreground",) if len(colours) < 2 else tuple(_colour_name(colour) for colour in colours)
    return Task(
        root.resolve().name, structures, squares, np.array(masks, np.uint8), tuple(sources), tuple(parts),
        "not stated", False, by,
    )  # fmt: skip


def _pairs(root: Path) -> tuple[list[tuple[Path, Path]], int]:
    """Pictures with their masks in the order of their names, and how many have none."""
    images: list[Path] = []
    masks: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.suffix.lower() not in IMAGES or any(part.startswith(".") for part in relative.parts):
            continue
        named = MASK_NAME.fullmatch(path.stem)
        stem = (named["image"] if named else path.stem).lower()
        owner = next((parent.parent for parent in path.parents if MASK_FOLDER.fullmatch(parent.name)), None)
        if owner is not None and owner.is_relative_to(root):
            masks.setdefault((owner, stem), []).append(path)
        elif named:
            masks.setdefault((path.parent, stem), []).append(path)
        else:
            images.append(path)
    pairs = []
    for image in images:
        places = [image.parent, *([image.parent.parent] if image.parent != root else [])]
        found = [mask for place in places for mask in masks.get((place, image.stem.lower()), [])]
        if len(found) > 1:
            raise ValueError(f"{image} has several masks: {', '.join(sorted(mask.name for mask in found))}")
        pairs += [(image, mask) for mask in found]
    return pairs, len(images) - len(pairs)


def _patient(name: str, pattern: str | None) -> str:
    if pattern is None:
        return name
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    groups = [group for group in (found.groups() if found else ()) if group]
    if not groups:
        raise ValueError(f"{pattern!r} does not find the patient of {name}: put what names the patient into brackets")
    return "_".join(groups)


def _part(name: str) -> str | None:
    return next((part.lower() for part in name.split("/")[:-1] if part.lower() in PARTS), None)


def _frame(path: Path) -> np.ndarray:
    """A picture as 8-bit grey; deeper ones from their 0.5th to their 99.5th percentile."""
    cine = open_cine(path)
    if cine.shape[2] != 1:
        raise ValueError(f"{path} has {cine.shape[2]} frames: a probe is of single pictures")
    frame = cine.read()[..., 0]
    return frame if frame.dtype == np.uint8 else to_grey8(frame)


def _coloured(path: Path) -> np.ndarray:
    """A mask's values (H, W): grey values and palette indices, or red, green and blue in three bytes and a mark."""
    from PIL import Image, UnidentifiedImageError

    kind = PICTURES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path}: a mask is a picture ({', '.join(PICTURES)})")
    try:
        with Image.open(path, formats=[kind]) as image:
            check_size(path, image.height, image.width, 1)
            array = np.asarray(image if image.mode in MODES else image.convert("RGB")).astype(np.int64)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as a mask ({type(error).__name__})") from None
    if array.ndim == 3:
        same = (array[..., :1] == array).all()
        mixed = (array << np.array([16, 8, 0])).sum(-1)
        array = array[..., 0] if same else np.where(mixed > 0, mixed | COLOURED, 0)
    return array


def _colours(paths: Sequence[Path]) -> tuple[int, ...]:
    """The values that structures have in the masks; empty where there are too many to be meant."""
    found: set[int] = set()
    for path in paths:
        found |= set(np.unique(_coloured(path)).tolist())
        if len(found) > MOST_COLOURS + 1:
            return ()
    found.discard(0)
    if not found:
        raise ValueError(f"nothing is drawn in any of the masks, such as {paths[0]}")
    return tuple(sorted(found))


def _drawn(path: Path, colours: Sequence[int]) -> np.ndarray:
    """Masks (S, H, W), bool."""
    values = _coloured(path)
    if colours:
        return np.stack([values == colour for colour in colours])
    brightest = np.max([values >> shift & 255 for shift in (16, 8, 0)], axis=0)
    return (brightest > 127)[None]


def _colour_name(colour: int) -> str:
    return f"colour #{colour - COLOURED:06x}" if colour & COLOURED else f"value {colour}"
