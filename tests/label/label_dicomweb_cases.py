"""MONAI Label over a PACS; run by test_label_dicomweb.py inside Orthanc's own network namespace."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from conftest import pack_small, write_cine
from label_server import LabelServer, on_grid, read_label_map
from pydicom import dcmread

from monai_agglo.pacs import DicomWeb
from monai_agglo.swallow import flatten


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    return write_cine(tmp_path_factory.mktemp("study"), 3).cine


def test_a_cine_of_the_pacs(cine, tmp_path):
    """Found by its modality, fetched, segmented; the store hands the bundle a NIfTI file without tags."""
    import monai.bundle

    source = dcmread(cine)
    web = DicomWeb(os.environ["ORTHANC_URL"], os.environ["ORTHANC_USER"], os.environ["AGGLO_PACS_PASSWORD"])
    web.store([cine])
    packed = pack_small(tmp_path / "app")
    login = {
        "MONAI_LABEL_DICOMWEB_USERNAME": os.environ["ORTHANC_USER"],
        "MONAI_LABEL_DICOMWEB_PASSWORD": os.environ["AGGLO_PACS_PASSWORD"],
        "NO_PROXY": "127.0.0.1",
    }
    server = LabelServer(tmp_path / "app", os.environ["ORTHANC_URL"], ["vfss_seg"], **login)
    try:
        store = server.call("GET", "/datastore/?output=all").json()
        series = str(source.SeriesInstanceUID)
        assert server.call("GET", "/info/").json()["datastore"]["total"] == 1, store
        content = server.infer("vfss_seg", series)
    finally:
        server.stop()
    image, _ = read_label_map(content, tmp_path)
    (seen,) = (tmp_path / ".cache").rglob(f"{series}.nii.gz")
    assert nibabel.load(seen).shape == (source.Columns, source.Rows, source.NumberOfFrames)
    assert nibabel.load(seen).header["pixdim"][3] == pytest.approx(float(source.FrameTime), rel=1e-3)
    where = {"bundle_root": str(packed), "dataset_dir": str(cine), "output_dir": str(tmp_path / "alone")}
    config = str(packed / "configs" / "inference.json")
    monai.bundle.run(config_file=config, logging_file=False, device="cpu", overlay=False, in_label=False, **where)
    (path,) = Path(where["output_dir"]).rglob("*.nii.gz")
    wanted = flatten(np.asarray(nibabel.load(path).dataobj), axis=-1)
    labels = on_grid(image, SimpleITK.ReadImage(str(cine)))
    assert len(np.unique(wanted)) > 8 and (labels != wanted).mean() <= 1e-4
