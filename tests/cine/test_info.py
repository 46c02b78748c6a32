"""Command ``info``: facts of a cine without identifying values."""

import json

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayRadiofluoroscopicImageStorage, generate_uid

from monai_agglo import __main__ as cli
from monai_agglo.cine.info import describe


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    """Ten frames of 20 x 30 pixels at 30 frames per second, in pairs of equal frames, with a patient name."""
    path = tmp_path_factory.mktemp("info") / "cine.dcm"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = XRayRadiofluoroscopicImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Zaphodson^Trillian", "SECRET-ID-17", "RF"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 20, 30, 10
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.FrameTime, dataset.PixelSpacing = "33.333", [0.4, 0.3]
    frames = np.random.default_rng(0).integers(7, 4001, (5, 20, 30)).astype(np.uint16)
    frames[0, 0, 0], frames[4, 3, 3] = 7, 4000
    dataset.PixelData = np.repeat(frames, 2, axis=0).tobytes()
    dataset.save_as(path)
    return path


def test_facts(cine):
    facts = describe(cine)
    assert facts["shape"] == [20, 30, 10]
    assert (facts["dtype"], facts["value_range"]) == ("uint16", [7, 4000])
    assert facts["time_source"] == "FrameTime" and facts["time_assumed"] is False
    assert facts["repeated_frames"] == [1, 3, 5, 7, 9]
    assert facts["effective_fps"] == pytest.approx(15.0, rel=0.01)
    assert facts["spacing_mm"] == [0.4, 0.3] and facts["spacing_known"] is True
    assert json.loads(json.dumps(facts)) == facts


def test_no_identity(cine, capsys):
    assert cli.main(["info", str(cine), "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["frame_times_ms"][1] == pytest.approx(33.333)
    assert "Zaphodson" not in text and "SECRET" not in text and "1.2.826" not in text


def test_table(cine, capsys):
    assert cli.main(["info", str(cine)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["shape"] == "[20, 30, 10]"
    assert lines["frame_times_ms"].endswith("(10 values)")
