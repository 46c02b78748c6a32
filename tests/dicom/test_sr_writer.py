"""Measurements as a structured report, read back by highdicom."""

import math

import pydicom
import pytest
from result_samples import FRAMES, PATIENT, dciodvfy, write_small_study

from monai_agglo.dicom.sr_writer import UNITS, SrRecord, write_sr

RECORDS = [
    SrRecord("pharyngeal_transit", "Pharyngeal transit time", 0.7215, "s", (1, 5), plus_minus=0.033, note="UESC - BPM"),
    SrRecord("residue_total", "Residue", 0.68, "%(C2-4)^2", (6,)),
    SrRecord("hyoid_excursion", "Hyoid excursion", math.nan, "%C2-4", reason="the hyoid is not labelled"),
    SrRecord("residue_total", "Residue", 1.25, "%(C2-4)^2", (3,), swallow=2),
]


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    return write_small_study(tmp_path_factory.mktemp("study"))[0]


def named(cine, folder):
    ds = pydicom.dcmread(cine)
    for key, value in PATIENT.items():
        setattr(ds, key, value)
    ds.save_as(folder / "named.dcm")
    return folder / "named.dcm"


def test_round_trip(cine, tmp_path):
    import highdicom as hd

    path = write_sr(tmp_path / "sr.dcm", cine, RECORDS, keep_identity=True, model={"weights_sha256": "cd" * 32})
    assert not dciodvfy(path)
    sr = hd.sr.srread(path)
    assert (sr.CompletionFlag, sr.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    groups = sr.content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["swallow 1", "swallow 2"]
    first = groups[0].get_measurements()
    assert [m.name.value for m in first] == ["pharyngeal_transit"[:16], "residue_total"]
    assert first[0].value == 0.7215 and first[0].unit == UNITS["s"]
    assert first[1].unit.value == "%{(C2-4)^2}"
    (image,) = first[0].referenced_images
    assert image.referenced_frame_numbers == [2, 6]
    assert image.referenced_sop_instance_uid == pydicom.dcmread(cine).SOPInstanceUID
    assert groups[1].get_measurements()[0].value == 1.25
    (missing,) = groups[0].get_qualitative_evaluations()
    assert (missing.name.value, missing.value.value) == ("hyoid_excursion", "114006")
    words = [element.value for element in pydicom.dcmread(path).iterall() if element.keyword == "TextValue"]
    assert "the hyoid is not labelled" in words and "UESC - BPM" in words
    assert not groups[1].get_qualitative_evaluations()


@pytest.mark.parametrize("keep", [False, True])
def test_identity(cine, tmp_path, keep):
    path = write_sr(tmp_path / "sr.dcm", named(cine, tmp_path), RECORDS, keep_identity=keep)
    found = [text for text in PATIENT.values() if text.encode() in path.read_bytes()]
    assert found == (list(PATIENT.values()) if keep else [])
    assert not dciodvfy(path)
    uid = pydicom.dcmread(cine).StudyInstanceUID
    assert (pydicom.dcmread(path).StudyInstanceUID == uid) is keep


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (SrRecord("x", "X", 1.0, "furlong"), "unknown unit 'furlong'"),
        (SrRecord("x", "X", math.nan, "s"), "either a value or a reason"),
        (SrRecord("x", "X", 1.0, "s", reason="but"), "either a value or a reason"),
        (SrRecord("x", "X", 1.0, "s", (FRAMES,)), f"outside the {FRAMES} frames"),
    ],
)
def test_bad_records(cine, tmp_path, record, words):
    with pytest.raises(ValueError, match=words):
        write_sr(tmp_path / "sr.dcm", cine, [record])
    with pytest.raises(ValueError, match="no measurement"):
        write_sr(tmp_path / "sr.dcm", cine, [])
    assert not list(tmp_path.iterdir())
