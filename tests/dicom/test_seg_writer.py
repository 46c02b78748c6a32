"""DICOM segmentations of a cine, read back by other programs."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from result_samples import COLUMNS, FRAMES, PATIENT, ROWS, dciodvfy, per_frame, shared, write_small_study

from monai_agglo.cine.errors import CineReadError
from monai_agglo.dicom import seg_writer
from monai_agglo.dicom.result_source import ResultSource
from monai_agglo.dicom.seg_writer import write_seg
from monai_agglo.swallow import TARGETS, flatten

MODEL = {"bundle": "vfss_seg", "version": "1.2.3", "weights_sha256": "ab" * 32}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def named(study, tmp_path_factory):
    """The same cine with a patient name."""
    ds = pydicom.dcmread(study[0])
    for key, value in PATIENT.items():
        setattr(ds, key, value)
    path = tmp_path_factory.mktemp("named") / "cine.dcm"
    ds.save_as(path)
    return path


def through_highdicom(path, count, **options):
    """Pixels (T, H, W[, S]) as read by highdicom for the frames of the source."""
    import highdicom as hd

    seg = hd.seg.segread(path)
    uid = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    return seg.get_pixels_by_source_frame(
        uid, list(range(1, count + 1)), assert_missing_frames_are_empty=True, ignore_spatial_locations=True, **options
    )


def test_binary_read_by_highdicom(study, tmp_path):
    cine, masks = study
    path = write_seg(tmp_path / "seg.dcm", cine, per_frame(masks), model=MODEL)
    np.testing.assert_array_equal(through_highdicom(path, FRAMES), masks.transpose(2, 0, 1, 3))
    assert not dciodvfy(path)
    ds = pydicom.dcmread(path)
    assert "FrameOfReferenceUID" not in ds
    assert not {"PlanePositionSequence", "PlaneOrientationSequence"} & set(ds.PerFrameFunctionalGroupsSequence[0].dir())
    for item in ds.PerFrameFunctionalGroupsSequence:
        image = item.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedFrameNumber == item.FrameContentSequence[0].TemporalPositionIndex
    codes = [s.SegmentedPropertyTypeCodeSequence[0] for s in ds.SegmentSequence]
    assert [(c.CodeValue, c.CodingSchemeDesignator) for c in codes] == [s.code[:2] for s in TARGETS]
    (method,) = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert method.AlgorithmVersion == "1.2.3" and MODEL["weights_sha256"] in method.AlgorithmParameters


def test_label_map_equals_the_flattened_masks(study, tmp_path):
    cine, masks = study
    path = write_seg(tmp_path / "seg.dcm", cine, per_frame(masks), kind="LABELMAP")
    labels = through_highdicom(path, FRAMES, combine_segments=True)
    np.testing.assert_array_equal(labels, flatten(masks, axis=3).transpose(2, 0, 1))
    # dciodvfy of Debian 12 does not know the SOP class and checks the values only
    assert not [line for line in dciodvfy(path) if "Information Object Not found" not in line]


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_invented_geometry_is_marked(study, tmp_path, kind):
    cine, masks = study
    path = write_seg(tmp_path / "seg.dcm", cine, per_frame(masks), kind=kind, geometry=(0.3, 0.4))
    ds = pydicom.dcmread(path)
    assert "INVENTED" in ds.SeriesDescription and "INVENTED" in ds.ContentLabel and "INVENTED" in ds.ImageComments
    assert ds.FrameOfReferenceUID
    if kind == "BINARY":
        assert not dciodvfy(path)
        np.testing.assert_array_equal(through_highdicom(path, FRAMES), masks.transpose(2, 0, 1, 3))


def test_viewer_copy_read_by_dcmqi(study, tmp_path):
    tool = Path(sys.executable).with_name("segimage2itkimage")
    if not tool.exists():
        pytest.skip("dcmqi is not installed (pip install dcmqi)")
    import SimpleITK as sitk

    cine, masks = study
    path = write_seg(tmp_path / "seg.dcm", cine, per_frame(masks), geometry=(0.3, 0.4))
    (tmp_path / "out").mkdir()
    command = [tool, "--inputDICOM", path, "--outputDirectory", tmp_path / "out", "-t", "nrrd"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
    for channel in range(12):
        image = sitk.ReadImage(str(tmp_path / "out" / f"{channel + 1}.nrrd"))
        assert image.GetSpacing() == pytest.approx((0.4, 0.3, 1))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image) > 0, masks[..., channel].transpose(2, 0, 1) > 0)


def test_identity_is_kept_on_request_only(study, named, tmp_path):
    masks = study[1]
    source = pydicom.dcmread(named)
    path = write_seg(tmp_path / "dropped.dcm", named, per_frame(masks))
    data = path.read_bytes()
    hidden = ["Zaphodson", *PATIENT.values(), source.StudyInstanceUID, source.SOPInstanceUID, source.SeriesInstanceUID]
    assert not [text for text in hidden if text.encode() in data]
    dropped = pydicom.dcmread(path)
    assert dropped.PatientIdentityRemoved == "YES" and dropped.PatientID
    # pseudonyms of a patient and study are stable
    again = pydicom.dcmread(write_seg(tmp_path / "again.dcm", named, per_frame(masks), kind="LABELMAP"))
    assert (again.PatientID, again.StudyInstanceUID) == (dropped.PatientID, dropped.StudyInstanceUID)
    assert again.SOPInstanceUID != dropped.SOPInstanceUID

    path = write_seg(tmp_path / "kept.dcm", named, per_frame(masks), keep_identity=True)
    kept = pydicom.dcmread(path)
    assert {key: str(kept[key].value) for key in PATIENT} == PATIENT
    assert kept.StudyInstanceUID == source.StudyInstanceUID
    image = kept.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert not dciodvfy(path)


def test_empty_masks_give_one_empty_frame(study, tmp_path):
    path = write_seg(tmp_path / "seg.dcm", study[0], per_frame(np.zeros_like(study[1])))
    assert pydicom.dcmread(path).NumberOfFrames == 1
    assert not through_highdicom(path, 1).any()
    assert not dciodvfy(path)


def test_single_frame_series_is_referenced_by_instance(study, tmp_path):
    import highdicom as hd

    cine, masks = study
    ds = pydicom.dcmread(cine)
    ds.decompress()
    frames = ds.pixel_array
    uids = []
    for t, frame in enumerate(frames):
        for keyword in ("NumberOfFrames", "FrameIncrementPointer", "FrameTime", "FrameTimeVector"):
            if keyword in ds:
                del ds[keyword]
        ds.InstanceNumber = t + 1
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{100 - t}"
        ds.PixelData = frame.tobytes()
        ds.save_as(tmp_path / f"{9 - t}.dcm")
        uids.append(ds.SOPInstanceUID)
    path = write_seg(tmp_path / "out" / "seg.dcm", tmp_path, per_frame(masks), keep_identity=True)
    seg = hd.seg.segread(path)
    got = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True, ignore_spatial_locations=True)
    np.testing.assert_array_equal(got, masks.transpose(2, 0, 1, 3))
    assert not dciodvfy(path)


def test_memory_is_constant(study, tmp_path, monkeypatch):
    monkeypatch.setattr(seg_writer, "_SPOOL", 1 << 14)
    mask = study[1][:, :, 0].transpose(2, 0, 1)

    def peak(frames):
        source = ResultSource.read(study[0], frames=frames)
        tracemalloc.start()
        write_seg(tmp_path / "seg.dcm", source, (mask for _ in range(frames)))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(10)  # warm-up: imports and caches
    assert peak(200) < 1.3 * peak(20)
    assert pydicom.dcmread(tmp_path / "seg.dcm", stop_before_pixels=True).NumberOfFrames > 20 * 5


def test_inconsistent_masks_leave_no_file(study, tmp_path):
    cine, masks = study
    for wrong, words in (
        (masks[:-1], "do not match a cine of"),
        (masks[..., :5], "12 structures"),
        (masks[:, :, :-1], f"masks of {FRAMES - 1} frames"),
        (np.concatenate([masks, masks], axis=2), "masks of more than"),
    ):
        with pytest.raises(ValueError, match=words):
            write_seg(tmp_path / "seg.dcm", cine, per_frame(wrong))
    with pytest.raises(ValueError, match="choose one of BINARY, LABELMAP"):
        write_seg(tmp_path / "seg.dcm", cine, per_frame(masks), kind="FRACTIONAL")
    assert not list(tmp_path.iterdir())


def test_sources_without_uids(study, tmp_path):
    ds = pydicom.dcmread(study[0])
    del ds.StudyInstanceUID
    ds.save_as(tmp_path / "a.dcm")
    with pytest.raises(CineReadError, match="has no StudyInstanceUID"):
        ResultSource.read(tmp_path / "a.dcm")
    (tmp_path / "b.avi").write_bytes(b"RIFF" + bytes(200))
    with pytest.raises(CineReadError, match="not DICOM"):
        ResultSource.read(tmp_path / "b.avi")
    with pytest.raises(CineReadError, match="no such file"):
        ResultSource.read(tmp_path / "c.dcm")


def test_two_patients_are_refused(study, tmp_path):
    ds = pydicom.dcmread(study[0])
    ds.decompress()
    del ds.NumberOfFrames
    ds.PixelData = ds.PixelData[: ROWS * COLUMNS * ds.BitsAllocated // 8 // 2 * 2]
    for t in (1, 2):
        ds.InstanceNumber, ds.PatientID = t, f"SECRET{t}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{t}"
        ds.save_as(tmp_path / f"{t}.dcm")
    with pytest.raises(CineReadError, match="differ in PatientID") as error:
        ResultSource.read(tmp_path)
    assert "SECRET" not in str(error.value)


def test_real_angiogram(tmp_path):
    cine = shared("dicom/fo-dicom+fo-dicom/HasFragmentSequence.dcm")
    header = pydicom.dcmread(cine, stop_before_pixels=True)
    masks = np.zeros((header.Rows, header.Columns, 12, 2), np.uint8)
    rng = np.random.default_rng(0)
    masks[100:200, 50:301, rng.integers(0, 12, 9), rng.integers(0, 2, 9)] = 1
    source = ResultSource.read(cine, frames=12, keep_identity=True)
    path = write_seg(tmp_path / "seg.dcm", source, per_frame(masks), TARGETS[:2])
    np.testing.assert_array_equal(through_highdicom(path, 12), masks.transpose(2, 0, 1, 3))
    assert pydicom.dcmread(path).LossyImageCompression == "01"  # the source is JPEG baseline
    assert not dciodvfy(path)
