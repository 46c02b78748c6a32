import csv
import json

import nibabel
import numpy as np
import pytest
from cartoon import FRAMES, draw

from monai_agglo.reporting.case_measures import load_masks, measure_case, view_of
from monai_agglo.swallow import NAMES


def write_masks(folder, **changes):
    """Write the drawn swallow as a mask file (H, W, T, 18)."""
    masks = draw(scale=1.5, size=160)
    masks.update(changes)
    folder.mkdir(parents=True, exist_ok=True)
    nothing = np.zeros_like(masks["c2"])
    stack = np.stack([np.asarray(masks.get(name, nothing), np.uint8) for name in NAMES], axis=-1)
    nibabel.save(nibabel.Nifti1Image(stack, np.eye(4)), folder / "masks.nii.gz")
    return folder / "masks.nii.gz"


def test_mask_file_to_json_and_csv(tmp_path):
    path = write_masks(tmp_path / "case")
    found, (json_path, csv_path) = measure_case(path, view="lateral", fps=25, repeats=0, iddsi=[0])
    assert len(found.rows) == 1 and json_path.parent == tmp_path / "case"
    content = json.loads(json_path.read_text())
    times = {m["name"]: m["value"] for m in content["swallows"][0]["measures"]}
    assert times["pharyngeal_transit"] == pytest.approx(1.04)
    rows = list(csv.DictReader(csv_path.open(encoding="utf-8")))
    row = next(r for r in rows if r["measure"] == "residue_total")
    assert "0.68" in row["reference"] and float(row["value"]) > 1
    # a mask file without record has an unknown view
    alone, _ = measure_case(path, tmp_path / "out", fps=25, repeats=0)
    assert alone.view == "unknown" and (tmp_path / "out" / "measurements.csv").is_file()


def test_command(tmp_path, capsys):
    from monai_agglo import __main__ as cli

    write_masks(tmp_path)
    options = ["--view", "lateral", "--fps", "25", "--repeats", "2"]
    assert cli.main(["measure", str(tmp_path), *options]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "1 swallows"
    content = json.loads((tmp_path / "measurements.json").read_text())
    assert content["scale"]["c2c4"]["uncertainty"] > 0


@pytest.mark.parametrize(
    ("stated", "looks", "view"),
    [("ap", True, "ap"), (None, True, "lateral"), (None, False, "unknown"), ("lateral", None, "lateral"),
     (None, None, "unknown"), ("lateral", False, "unknown")],
)  # fmt: skip
def test_view(stated, looks, view):
    check = None if looks is None else {"looks_like_lateral_vfss": looks}
    assert view_of({"source": {"view": stated}, "view": check}) == view


def test_invalid_mask_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no masks\.nii\.gz"):
        load_masks(tmp_path)
    path = tmp_path / "masks.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 3, 5), np.uint8), np.eye(4)), path)
    with pytest.raises(ValueError, match="12 or 18 structures"):
        load_masks(path)
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 3, 12), 7, np.uint8), np.eye(4)), path)
    with pytest.raises(ValueError, match="0 and 1 only"):
        load_masks(path)
    path.write_bytes(b"no NIfTI")
    with pytest.raises(ValueError, match="cannot be read as NIfTI"):
        load_masks(tmp_path)
    with pytest.raises(ValueError, match="fps"):
        measure_case(path, fps=0)
    assert FRAMES == 60
