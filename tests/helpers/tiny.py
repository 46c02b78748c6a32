"""A data set of a few small cines with circles for structures, for tests of the configs."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

# Rows-first arrays: the first axis points along world -y, the second along -x (LPS columns and rows, as in our files).
AFFINE = np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def write_tiny_dataset(folder: Path, size: int = 48, frames: int = 3, seed: int = 0, counts=(3, 1, 3)) -> Path:
    """Write NIfTI cines (columns first, as ITK does) and masks (rows first, as we do) with a datalist.

    Args:
        folder: where to write.
        size: rows; there are 8 columns more.
        frames: frames per cine; the bolus is absent from the odd ones.
        seed: seed of everything.
        counts: patients of training, validation and test.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows, cols = size, size + 8
    y, x = np.mgrid[:rows, :cols]
    items = []
    for case in range(sum(counts)):
        image = 600 + rng.normal(0, 10, (rows, cols, frames))
        masks = np.zeros((rows, cols, frames, 12), np.uint8)
        for s in range(12):
            cy, cx, radius = *(rng.uniform(0.2, 0.8, 2) * [rows, cols]), rng.uniform(0.08, 0.15) * rows
            for t in range(frames):
                if s == 11 and t % 2:
                    continue
                inside = (y - cy - t) ** 2 + (x - cx) ** 2 < radius**2
                masks[inside, t, s] = 1
                image[inside, t] -= 40 * (s + 1)
        itk_order = np.diag([-1.0, -1.0, 1.0, 1.0])
        cine = nib.Nifti1Image(image.clip(0).astype(np.uint16).transpose(1, 0, 2), itk_order)
        nib.save(cine, folder / f"cine{case}.nii.gz")
        nib.save(nib.Nifti1Image(masks, AFFINE), folder / f"masks{case}.nii.gz")
        items.append({"image": f"cine{case}.nii.gz", "label": f"masks{case}.nii.gz", "patient_id": f"tiny-{case}"})
    last = counts[0] + counts[1]
    content = {
        "name": "tiny",
        "training": items[: counts[0]],
        "validation": items[counts[0] : last],
        "test": items[last:],
    }
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder
