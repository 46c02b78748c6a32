"""predict writes DICOM results beside the masks: the same masks, the identity that was asked for."""

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
from app_samples import write_cine

from monai_agglo.dicom.seg_reader import read_seg
from monai_agglo.prediction.run import predict

TAGS = {"PatientOrientation": ["P", "F"], "StudyDate": "20240102", "AccessionNumber": "ACC7"}


def test_seg_and_overlay(random_bundle, tmp_path):
    cine = write_cine(tmp_path / "doe.dcm", **TAGS)
    out = tmp_path / "out"
    predict(cine, out, random_bundle, dicom_seg=True, dicom_overlay=True, device="cpu")
    masks = np.asarray(nib.load(out / "masks.nii.gz").dataobj)
    assert masks.any()
    np.testing.assert_array_equal(read_seg(out / "seg.dcm", cine), masks)
    source = pydicom.dcmread(cine)
    hidden = [b"Zaphodson", b"Trillian", b"ID4711", b"19500101", b"20240102", b"ACC7", source.StudyInstanceUID.encode()]
    for name in ("seg.dcm", "overlay.dcm", "predict.json"):
        assert not [text for text in hidden if text in (out / name).read_bytes()], name
    record = json.loads((out / "predict.json").read_text())
    assert record["dicom"] == {"files": ["seg.dcm", "overlay.dcm"], "identity": "removed"}
    seg, overlay = (pydicom.dcmread(out / name) for name in ("seg.dcm", "overlay.dcm"))
    assert seg.PatientID == overlay.PatientID
    assert seg.StudyInstanceUID == overlay.StudyInstanceUID != source.StudyInstanceUID
    assert seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "0.0.0"
    # a second run without them leaves no stale ones behind
    predict(cine, out, random_bundle, device="cpu")
    assert not (out / "seg.dcm").exists() and not (out / "overlay.dcm").exists()


def test_keep_identity(random_bundle, tmp_path):
    cine = write_cine(tmp_path / "doe.dcm", **TAGS)
    predict(cine, tmp_path / "out", random_bundle, dicom_seg=True, keep_identity=True, device="cpu")
    seg, source = pydicom.dcmread(tmp_path / "out" / "seg.dcm"), pydicom.dcmread(cine)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", *TAGS):
        assert seg[keyword].value == source[keyword].value
    assert b"Zaphodson" not in (tmp_path / "out" / "predict.json").read_bytes()
    with pytest.raises(ValueError, match="keep-identity is for DICOM results"):
        predict(cine, tmp_path / "other", random_bundle, keep_identity=True)


def test_a_cine_that_is_not_dicom_is_refused_before_the_work(random_bundle, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((16, 16, 3), np.float32), np.eye(4)), tmp_path / "c.nii.gz")
    with pytest.raises(ValueError, match=r"c\.nii\.gz: it is not DICOM"):
        predict(tmp_path / "c.nii.gz", tmp_path / "out", random_bundle, dicom_seg=True, device="cpu")
    assert not (tmp_path / "out").exists()
