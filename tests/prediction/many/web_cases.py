"""A DICOMweb query of a real PACS; run by test_scale_out_web.py inside Orthanc's own network namespace."""

import json
import os

import nibabel as nib
import numpy as np
import pytest
from app_samples import write_cine
from pydicom.uid import generate_uid

from monai_agglo.__main__ import main
from monai_agglo.cine.cine import open_cine
from monai_agglo.pacs import DicomWeb
from monai_agglo.prediction.run import predict

URL, USER = os.environ.get("ORTHANC_URL", ""), os.environ.get("ORTHANC_USER", "")


def test_query_of_a_pacs(tmp_path, random_bundle, capsys):
    """Two studies fit the query: one with a cine and a series of single frames, one with a cine; a third does not."""
    web = DicomWeb(URL, USER, os.environ["AGGLO_PACS_PASSWORD"])
    folder, study = tmp_path / "sent", generate_uid()
    folder.mkdir()
    tags = {"StudyDate": "20240102", "StudyInstanceUID": study}
    write_cine(folder / "cine.dcm", 5, seed=1, **tags)
    for number in (1, 2, 3):
        write_cine(folder / f"single{number}.dcm", 1, seed=number, series="1.2.3.4.5", number=number, **tags)
    write_cine(folder / "ct.dcm", 1, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2", **tags)
    write_cine(folder / "other.dcm", 4, seed=2, StudyDate="20240105")
    write_cine(folder / "later.dcm", 4, seed=3, StudyDate="20250101")
    web.store(sorted(folder.iterdir()))
    assert len(web.studies(StudyDate="20240101-20241231")) == 2 and study in web.studies()
    with pytest.raises(ValueError, match="not a DICOM keyword"):
        web.studies(Day="20240101")

    command = ["predict", URL, "--output", str(tmp_path / "out"), "--engine", "pool", "--workers", "1"]
    command += ["--query", "StudyDate=20240101-20241231", "--user", USER, "--bundle", str(random_bundle)]
    command += ["--device", "cpu", "--runtime", "torch"]
    assert main(command) == 0
    assert "3 of 3 segmented" in capsys.readouterr().out
    singles = [folder / f"single{number}.dcm" for number in (1, 2, 3)]
    for cine in (folder / "cine.dcm", folder / "other.dcm", singles):
        own = open_cine(cine).meta["pseudonym"]
        result = np.asarray(nib.load(tmp_path / "out" / own / "masks.nii.gz").dataobj)
        if cine is not singles:
            predict(cine, tmp_path / "one", random_bundle, runtime="torch", device="cpu")
            np.testing.assert_array_equal(result, nib.load(tmp_path / "one" / "masks.nii.gz").dataobj)
        else:
            assert result.shape[2] == 3
    assert main(command) == 0
    assert "3 of 3 segmented, 3 of them before" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["kept"] == 3 and study not in json.dumps(summary)
