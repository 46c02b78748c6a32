"""A small cine with masks that overlap, and the programs that others read our objects with."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from monai_agglo.phantom import PhantomSpec, write_study

ROWS, COLUMNS, FRAMES = 66, 75, 7
"""66 x 75 is no multiple of 8: frames of one bit per pixel do not begin at a byte."""
PATIENT = {
    "PatientName": "Zaphodson^Trillian",
    "PatientID": "ID4711",
    "PatientBirthDate": "19500101",
    "AccessionNumber": "ACC99",
}


def write_small_study(folder):
    """cine.dcm of a phantom, and its masks (H, W, T, 12) with a frame without any and two structures that overlap."""
    import nibabel as nib

    paths = write_study(PhantomSpec.sample(5, rows=ROWS, cols=COLUMNS), folder, frames=FRAMES)
    masks = np.array(nib.load(paths.masks).dataobj)[..., :12]
    masks[20:40, 20:40, :, 11] = 1  # bolus over whatever is there
    masks[:, :, 3] = 0
    assert (masks.sum(axis=-1) > 1).any()
    return paths.cine, masks


def per_frame(masks):
    """(H, W, T, S) as (S, H, W) per frame."""
    return (masks[:, :, t].transpose(2, 0, 1) for t in range(masks.shape[2]))


def dciodvfy(path):
    """Lines of dciodvfy that say "Error"; skips where the program is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy said nothing at all"
    return [line for line in lines if line.startswith("Error")]


def shared(name):
    """A file of the shared corpus, or a skip."""
    import os

    root = Path(os.environ.get("AGGLO_SHARED", Path(__file__).parents[3] / "shared"))
    if not (root / name).is_file():
        pytest.skip(f"{name} is not in AGGLO_SHARED")
    return root / name
