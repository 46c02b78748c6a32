"""predict over the shared corpus of real DICOM files (many broken on purpose) and the real VFSS stills."""

import csv
import os
from pathlib import Path

import nibabel as nib
import pytest

from monai_agglo.cine.search import find_cases
from monai_agglo.prediction.run import predict

SHARED = Path(os.environ.get("AGGLO_SHARED", Path(__file__).parents[3] / "shared"))
needs_shared = pytest.mark.skipif(not (SHARED / "dicom").is_dir(), reason="AGGLO_SHARED has no dicom folder")
STILLS = sorted((SHARED / "reference" / "vfss_stills").glob("*.png"))


def projections():
    """Files that the corpus' manifest calls decodable projection images, with their number of frames."""
    with open(SHARED / "dicom" / "MANIFEST.tsv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            secondary = row["sop"] == "Secondary Capture Image Storage" and row["modality"] not in ("NM", "CT", "MR")
            if row["pydicom_decode"].startswith("OK") and (row["modality"] in ("XA", "US", "CR", "DX") or secondary):
                yield SHARED / "dicom" / row["path"], int(row["frames"]) if row["frames"].isdigit() else 1


@needs_shared
def test_every_decodable_projection_file_is_segmented(tmp_path, random_bundle):
    wanted = dict(projections())
    assert len(wanted) > 40
    cases = find_cases(SHARED / "dicom")
    report = predict(SHARED / "dicom", tmp_path / "out", random_bundle)
    assert [case.shown for case in report.cases] == [case.shown for case in cases]
    done = set()
    for case, result in zip(cases, report.cases):
        if result.error:
            assert "unexpected" not in result.error and len(result.error) < 400, result.error
            continue
        done.update(case.paths)
        frames = sum(wanted.get(path, 1) for path in case.paths)
        rows, columns, count, structures = nib.load(result.folder / "masks.nii.gz").shape
        # Copies of one instance within a series count once.
        assert structures == 12 and (count == frames or (len(case.paths) > 1 and 1 <= count < frames))
        assert (rows, columns) == (result.record["source"]["rows"], result.record["source"]["columns"])
        assert (result.folder / "overlay.mp4").stat().st_size > 500
        assert (result.folder / "contact_sheet.png").stat().st_size > 2000
    assert not set(wanted) - done
    assert report.exit_code == 1  # the CT, the dose and the broken ones, a sentence each


@pytest.mark.skipif(not STILLS, reason="AGGLO_SHARED has no reference stills")
def test_real_stills_are_segmented(tmp_path, random_bundle):
    for still in STILLS:
        report = predict(still, tmp_path / still.stem, random_bundle)
        assert report.exit_code == 0
        assert nib.load(tmp_path / still.stem / "masks.nii.gz").shape[2:] == (1, 12)
