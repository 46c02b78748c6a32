"""Pseudonyms are keyed and stable; metadata, logs and messages contain no identifying values."""

import json
import logging
import multiprocessing
import os
import stat

import numpy as np
import pytest
from dicom_factory import moving_disc, write_cine, write_enhanced, write_series
from monai.transforms import Compose, LoadImaged
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError
from monai_agglo.cine.identity import PseudonymKeyError, file_pseudonym, home_folder, pseudonym
from monai_agglo.data import PseudonymizeMetad


def test_stable_and_keyed(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path / "a"))
    first = pseudonym("Zaphodson^Trillian")
    assert first == pseudonym("Zaphodson^Trillian") != pseudonym("Zaphodson^John")
    assert pseudonym("Zaphodson^Trillian", "patient") != first
    assert len(first) == 16 and int(first, 16) >= 0
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path / "b"))
    assert pseudonym("Zaphodson^Trillian") != first
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path / "a"))
    assert pseudonym("Zaphodson^Trillian") == first


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_key_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path / "home"))
    old = os.umask(0)
    try:
        pseudonym("x")
    finally:
        os.umask(old)
    key = tmp_path / "home" / "pseudonym.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [item.name for item in key.parent.iterdir()] == ["pseudonym.key"]
    assert len(bytes.fromhex(key.read_text())) == 32


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_permissions_of_an_existing_key_are_restricted(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path))
    (tmp_path / "pseudonym.key").write_text("ab" * 32)
    os.chmod(tmp_path / "pseudonym.key", 0o644)
    pseudonym("x")
    assert stat.S_IMODE((tmp_path / "pseudonym.key").stat().st_mode) == 0o600


def test_damaged_key_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path))
    (tmp_path / "pseudonym.key").write_text("nonsense")
    with pytest.raises(PseudonymKeyError, match="damaged"):
        pseudonym("x")
    assert (tmp_path / "pseudonym.key").read_text() == "nonsense"


def test_read_only_folder_gives_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path / "file" / "home"))
    with caplog.at_level(logging.WARNING):
        assert pseudonym("x") == pseudonym("x")
    assert "MONAI_AGGLO_HOME" in caplog.text


def _one(home, queue, start):
    os.environ["MONAI_AGGLO_HOME"] = home
    start.wait()
    queue.put(pseudonym("Zaphodson^Trillian"))


def test_concurrent_processes_share_one_key(tmp_path):
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    queue, start = context.Queue(), context.Event()
    workers = [context.Process(target=_one, args=(str(tmp_path / "home"), queue, start)) for _ in range(8)]
    for worker in workers:
        worker.start()
    start.set()
    found = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1


def test_default_home(monkeypatch, tmp_path):
    monkeypatch.delenv("MONAI_AGGLO_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    assert home_folder() == tmp_path / "monai_agglo"


def test_file_pseudonym_depends_on_the_content(tmp_path):
    (tmp_path / "Zaphodson_Trillian.avi").write_bytes(b"1" * 700_000)
    first = file_pseudonym(tmp_path / "Zaphodson_Trillian.avi")
    (tmp_path / "Zaphodson_Trillian.avi").rename(tmp_path / "b.avi")
    assert file_pseudonym(tmp_path / "b.avi") == first
    (tmp_path / "b.avi").write_bytes(b"1" * 700_001)
    assert file_pseudonym(tmp_path / "b.avi") != first


SECRET = "Zwxyqv"  # value of every text tag
SECRET_UID = "1.2.826.0.1.3680043.8.498.7777777"
SECRET_DATE = "19331122"


def plant(extra=None):
    """Secret values for all text tags of the DICOM dictionary, including those parsed by the reader."""
    from pydicom.datadict import DicomDictionary, keyword_for_tag

    keep = {"PhotometricInterpretation", "SOPClassUID", "TransferSyntaxUID", "Modality", "NumberOfFrames", "FrameTime"}
    tags = {}
    for tag, entry in DicomDictionary.items():
        vr, keyword = entry[0], entry[4]
        group = tag >> 16
        if not keyword or keyword in keep or group in (0x0002, 0x7FE0) or group == 0 or keyword.startswith("Item"):
            continue
        if vr in ("LO", "SH", "PN", "LT", "ST", "UT", "CS", "AE", "UC"):
            tags[keyword] = f"{SECRET}^{keyword[:6]}"[:16]
        elif vr == "UI":
            tags[keyword] = SECRET_UID
        elif vr == "DA":
            tags[keyword] = SECRET_DATE
        elif vr == "DT":
            tags[keyword] = SECRET_DATE + "112233"
        elif vr == "AS":
            tags[keyword] = "091Y"
        assert keyword_for_tag(tag) == keyword
    item = Dataset()
    item.PatientName = SECRET
    tags["RequestAttributesSequence"] = Items([item])
    return {**tags, **(extra or {})}


def assert_silent(*texts):
    for found in texts:
        for secret in (SECRET, SECRET_UID, SECRET_DATE, "091Y"):
            assert secret not in found and secret.lower() not in found.lower(), found


@pytest.mark.parametrize("modality", ["RF", SECRET])
def test_no_identity_in_metadata_and_logs(tmp_path, caplog, capfd, recwarn, modality):
    caplog.set_level(logging.DEBUG)
    path = write_cine(tmp_path / "a.dcm", moving_disc(), tags=plant({"Modality": modality}))
    recwarn.clear()  # discard warnings of the writer
    caplog.clear()
    loader = Compose([
        LoadImaged("image", reader="monai_agglo.data.CineReader", ensure_channel_first=True),
        PseudonymizeMetad("image"),
    ])  # fmt: skip
    image = loader({"image": str(path)})["image"]
    cine = open_cine(path)
    cine.read()
    out, err = capfd.readouterr()
    texts = [repr(image.meta), repr(cine.meta), caplog.text, out, err, *[str(item.message) for item in recwarn.list]]
    assert_silent(*texts)
    assert str(path) not in repr(image.meta) and "a.dcm" not in repr(image.meta)
    assert image.meta["filename_or_obj"] == image.meta["pseudonym"] == cine.meta["pseudonym"]
    json.dumps({key: item.tolist() if isinstance(item, np.ndarray) else item for key, item in cine.meta.items()})


def test_no_identity_in_errors(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    frames = moving_disc()
    broken = {
        "bits": {"BitsAllocated": 12},
        "frames": {"NumberOfFrames": 40},
        "photometric": {"PhotometricInterpretation": SECRET},
        "rows": {"Rows": 9999},
        "class": {"Modality": "CT"},
        "nothing": {"Modality": SECRET, "SOPClassUID": SECRET_UID},
        "palette": {"PhotometricInterpretation": "PALETTE COLOR"},
    }
    for name, tags in broken.items():
        path = write_cine(tmp_path / f"{name}.dcm", frames, tags=plant(tags))
        caplog.clear()
        with pytest.raises(CineReadError) as caught:
            open_cine(path).read()
        cause, context = caught.value.__cause__, caught.value.__context__
        assert cause is None and (context is None or caught.value.__suppress_context__)
        assert_silent(str(caught.value), caplog.text)
    data = path.read_bytes()
    for cut in (300, 900, 2000, len(data) // 2):
        (tmp_path / "cut.dcm").write_bytes(data[:cut])
        with pytest.raises(CineReadError) as caught:
            open_cine(tmp_path / "cut.dcm").read()
        assert_silent(str(caught.value))
    out, err = capfd.readouterr()
    assert_silent(caplog.text, out, err)


def test_no_identity_of_series_and_enhanced_files(tmp_path):
    folder = write_series(tmp_path / "s", moving_disc(frames=3), tags=plant({"SeriesInstanceUID": SECRET_UID}),
                          each=lambda n: {"SOPInstanceUID": f"{SECRET_UID}.{n}", "InstanceNumber": n})  # fmt: skip
    cine = open_cine(folder)
    cine.read()
    assert_silent(repr(cine.meta))
    stamps = [f"{SECRET_DATE}1200{n:02d}" for n in range(3)]
    cine = open_cine(write_enhanced(tmp_path / "e.dcm", moving_disc(frames=3), stamps, tags=plant()))
    cine.read()
    assert_silent(repr(cine.meta))
    assert cine.meta["frame_times_ms"] == [0, 1000, 2000]


def test_pseudonyms_of_two_cines_of_one_patient(tmp_path):
    metas = [open_cine(write_cine(tmp_path / f"{n}.dcm", moving_disc())).meta for n in range(2)]
    assert metas[0]["patient_pseudonym"] == metas[1]["patient_pseudonym"]
    assert metas[0]["pseudonym"] != metas[1]["pseudonym"]


def test_pseudonymize_meta_copies_and_drops_entries(tmp_path):
    path = write_cine(tmp_path / "a.dcm", moving_disc())
    data = LoadImaged("image", reader="monai_agglo.data.CineReader")({"image": str(path)})
    result = PseudonymizeMetad("image", drop=("frame_times_ms",))(data)
    assert data["image"].meta["filename_or_obj"] == str(path) and "frame_times_ms" in data["image"].meta
    assert "frame_times_ms" not in result["image"].meta
    assert result["image"].data_ptr() == data["image"].data_ptr()
    plain = LoadImaged("image")({"image": _nifti(tmp_path)})
    assert PseudonymizeMetad("image")(plain)["image"].meta["filename_or_obj"] == pseudonym(_nifti(tmp_path), "path")
    assert PseudonymizeMetad("label", allow_missing_keys=True)({"image": 1}) == {"image": 1}


def _nifti(folder):
    import nibabel

    path = folder / "x.nii"
    if not path.exists():
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), path)
    return str(path)
