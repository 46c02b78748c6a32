#!/usr/bin/env python3
"""LiteMedSAM with its real weights on real images, prompted by boxes taken from the masks.

    python -m experiments.litemedsam_boxes DATA [--weights FILE] [--images N] [--output FILE]

DATA holds twelve folders of images and masks (see SETS). Every connected part of a label of at least 100 pixels is an
object; its tight box is the only prompt. The figure of a set is the mean over its images of the mean Dice of their
objects, each object against its own mask. Colour images are made grey, as all teachers here take them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from monai_agglo.networks.sam_decoder import PromptSegmenter, SamDecoder
from monai_agglo.networks.teachers import create_teacher

MIN_AREA = 100
SETS = {
    "ct_aorta": "masks 0/255",
    "ct_spleen": "JPEG masks, thresholded",
    "cxr_lung_shenzhen_montgomery": "grey masks, thresholded",
    "fundus_disc_cup_drishti": "cup red, the rim of the disc around it yellow",
    "mammogram_cdd_cesm": "JPEG masks, thresholded",
    "mr_brain_tumour_figshare": "masks 0/255",
    "mr_lumbar_spine": "a colour per label",
    "mr_nasopharyngeal_carcinoma": "JPEG masks, thresholded",
    "retina_chasedb1": "first observer",
    "us_breast_busbra": "benign green, malignant red",
    "us_carotid_ccaus": "masks 0/255",
    "xca_arcade_stenosis": "masks 0/255",
}


def pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Images of a set with their masks, in order."""
    if folder.name == "retina_chasedb1":
        found = [(image, image.with_name(f"{image.stem}_1stHO.png")) for image in folder.glob("*.jpg")]
    else:
        suffix = "_mask" if folder.name == "mr_brain_tumour_figshare" else ""
        images = (path for path in folder.rglob("images/*") if path.suffix in (".png", ".jpg"))
        found = [(image, image.parents[1] / "masks" / f"{image.stem}{suffix}{image.suffix}") for image in images]
    yield from sorted(found)


def labels(path: Path, name: str) -> list[np.ndarray]:
    """The labels of a mask file, each a (H, W) bool array."""
    colour = np.asarray(Image.open(path).convert("RGB")) > 127
    if name == "fundus_disc_cup_drishti":  # the cup lies inside the disc
        return [colour[..., 0], colour[..., 0] & ~colour[..., 1]]
    code = colour @ np.array([1, 2, 4])
    return [code == value for value in np.unique(code) if value]


def objects(label: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """Connected parts (with diagonals) of at least MIN_AREA pixels, and their boxes x0, y0, x1, y1."""
    parts, _ = ndimage.label(label, np.ones((3, 3)))
    for number, where in enumerate(ndimage.find_objects(parts), 1):
        part = parts == number
        if part.sum() >= MIN_AREA:
            rows, columns = where
            yield part, (columns.start, rows.start, columns.stop - 1, rows.stop - 1)


def image_dice(segmenter: PromptSegmenter, image: Path, mask: Path, name: str) -> list[float]:
    """Dice of every object of an image."""
    grey = np.asarray(Image.open(image).convert("RGB").convert("L"))
    found = [pair for label in labels(mask, name) for pair in objects(label)]
    if not found:
        return []
    truth = torch.from_numpy(np.stack([part for part, _ in found]))
    frame = torch.from_numpy(grey / 255).float()[None, None]
    inside = segmenter(frame, boxes=torch.tensor([box for _, box in found]))[:, 0] > 0
    common = (inside & truth).sum((1, 2))
    return (2 * common / (inside.sum((1, 2)) + truth.sum((1, 2)))).tolist()


def study(data: Path, weights: Path | None = None, images: int = 0, names: list[str] | None = None) -> dict:
    """Run LiteMedSAM over the sets.

    Args:
        data: folder of the sets.
        weights: LiteMedSAM's checkpoint; looked for where weights are kept when None.
        images: at most this many images of each set, evenly spread; 0 takes all.
        names: of the sets; all when None.

    Returns:
        Per set the mean Dice over images, its spread and counts, and how it was measured; plain JSON.
    """
    teacher = create_teacher("litemedsam", weights)
    decoder = SamDecoder(teacher.spec.input_size, teacher.spec.grid, teacher.weights_file)
    segmenter = PromptSegmenter(teacher, decoder)
    report = {}
    for name in names or SETS:
        every = list(pairs(data / name))
        some = every[:: max(1, len(every) // images)][:images] if images else every
        scores = [image_dice(segmenter, *pair, name) for pair in tqdm(some, name, disable=None)]
        means = np.array([np.mean(image) for image in scores if image])
        report[name] = {
            "dice": round(float(means.mean()), 4),
            "dice_std": round(float(means.std()), 4),
            "images": len(means),
            "objects": sum(map(len, scores)),
            "masks": SETS[name],
        }
    digest = hashlib.sha256(Path(teacher.weights_file).read_bytes()).hexdigest()
    return {
        "model": teacher.spec.title,
        "weights_sha256": digest,
        "prompt": "tight box of each connected part of a label, at least 100 pixels",
        "figure": "mean over images of the mean Dice of their objects",
        "sets_at_least_0.85": sum(row["dice"] >= 0.85 for row in report.values()),
        "sets": report,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the twelve sets")
    parser.add_argument("--weights", type=Path, help="lite_medsam.pth (default: where weights are kept)")
    parser.add_argument("--images", type=int, default=0, help="at most this many images of each set (default: all)")
    parser.add_argument("--output", type=Path, default=Path("docs/results/litemedsam_boxes.json"))
    args = parser.parse_args()
    result = {"command": "python -m experiments.litemedsam_boxes DATA", **study(args.data, args.weights, args.images)}
    if args.images:
        result["command"] += f" --images {args.images}"
    for name, row in result["sets"].items():
        print(
            f"{name:30} {row['dice']:.3f} +- {row['dice_std']:.3f}  ({row['images']} images, {row['objects']} objects)"
        )
    partial = args.output.with_name(args.output.name + ".part")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    partial.replace(args.output)


if __name__ == "__main__":
    main()
