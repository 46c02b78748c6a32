"""Reading of DICOM segmentations: round trip, edited files, foreign and damaged files."""

import numpy as np
import pydicom
import pytest
from result_samples import FRAMES, per_frame, write_small_study

from monai_agglo.cine.errors import CineReadError
from monai_agglo.dicom.seg_reader import read_seg
from monai_agglo.dicom.seg_writer import write_seg
from monai_agglo.swallow import STRUCTURES, TARGETS, flatten


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def seg(study, tmp_path):
    return write_seg(tmp_path / "first" / "seg.dcm", study[0], per_frame(study[1]))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("geometry", [None, (1, 1)])
def test_round_trip(study, tmp_path, geometry, keep):
    cine, masks = study
    path = write_seg(tmp_path / "seg.dcm", cine, per_frame(masks), geometry=geometry, keep_identity=keep)
    np.testing.assert_array_equal(read_seg(path, cine), masks)
    path = write_seg(tmp_path / "map.dcm", cine, per_frame(masks), kind="LABELMAP", geometry=geometry)
    labels = flatten(masks, axis=3)
    np.testing.assert_array_equal(read_seg(path, cine), labels[..., None] == np.arange(1, 13))


def test_without_the_cine(study, seg):
    masks = study[1]
    np.testing.assert_array_equal(read_seg(seg), masks)  # the last frame has a mask
    longer = read_seg(seg, frames=FRAMES + 2)
    np.testing.assert_array_equal(longer[:, :, :FRAMES], masks)
    assert not longer[:, :, FRAMES:].any()
    assert not read_seg(seg, structures=STRUCTURES)[..., 12:].any()


def test_edited_and_renumbered(study, seg, tmp_path):
    """Two structures, renumbered, with 8 bits per pixel as some viewers write."""
    cine, masks = study
    ds = pydicom.dcmread(seg)
    pixels = ds.pixel_array
    chosen = {12: 1, 2: 2}  # bolus, mandible
    old = [
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber for item in ds.PerFrameFunctionalGroupsSequence
    ]
    keep = [i for i, number in enumerate(old) if number in chosen]
    ds.PerFrameFunctionalGroupsSequence = [ds.PerFrameFunctionalGroupsSequence[i] for i in keep]
    for item in ds.PerFrameFunctionalGroupsSequence:
        which = item.SegmentIdentificationSequence[0]
        which.ReferencedSegmentNumber = chosen[which.ReferencedSegmentNumber]
    ds.SegmentSequence = [ds.SegmentSequence[11], ds.SegmentSequence[1]]
    ds.SegmentSequence[0].SegmentNumber, ds.SegmentSequence[1].SegmentNumber = 1, 2
    ds.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodeValue = "changed"  # identified by its label
    edited = np.array([pixels[i] for i in keep])
    edited[0, 5:9, 5:9] = 1
    ds.NumberOfFrames, ds.SegmentationType = len(keep), "FRACTIONAL"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.MaximumFractionalValue = 8, 8, 7, 200
    ds.PixelData = (edited * 150).astype(np.uint8).tobytes()
    ds.save_as(tmp_path / "edited.dcm")
    found = read_seg(tmp_path / "edited.dcm", cine)
    want = np.zeros_like(masks)
    want[..., [1, 11]] = masks[..., [1, 11]]
    first = ds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber
    want[5:9, 5:9, 0, 11 if first == 1 else 1] = 1
    np.testing.assert_array_equal(found, want)


def test_viewer_copy_without_references_is_read_by_position(study, tmp_path):
    cine, masks = study
    path = write_seg(tmp_path / "seg.dcm", cine, per_frame(masks), geometry=(1, 1))
    ds = pydicom.dcmread(path)
    for item in ds.PerFrameFunctionalGroupsSequence:
        del item.DerivationImageSequence
    ds.save_as(path)
    np.testing.assert_array_equal(read_seg(path, cine), masks)
    with pytest.raises(CineReadError, match="do not refer to frames"):
        read_seg(path)


def changed(seg, path, change):
    ds = pydicom.dcmread(seg)
    change(ds)
    ds.save_as(path)
    return path


def test_another_cine_is_refused(study, seg, tmp_path):
    other = changed(study[0], tmp_path / "other.dcm", lambda ds: setattr(ds, "SOPInstanceUID", "1.2.3"))
    with pytest.raises(CineReadError, match="belongs to another cine"):
        read_seg(seg, other)
    small = changed(study[0], tmp_path / "small.dcm", lambda ds: setattr(ds, "Rows", 12))
    with pytest.raises(CineReadError, match="66 x 75 pixels, the cine 12 x 75"):
        read_seg(seg, small)
    short = changed(study[0], tmp_path / "short.dcm", lambda ds: setattr(ds, "NumberOfFrames", 2))
    with pytest.raises(CineReadError, match="refers to frame 3 of a cine of 2"):
        read_seg(seg, short)


def test_bad_files(study, seg, tmp_path):
    def no_segment(ds):
        for item in ds.SegmentSequence:
            item.SegmentLabel, item.TrackingID = "Trillian Zaphodson", "x"
            item.SegmentedPropertyTypeCodeSequence[0].CodeValue = "1"

    def one_less(ds):
        ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[1:]

    data = seg.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(data[:-2000])
    (tmp_path / "head.dcm").write_bytes(data[:2500])
    (tmp_path / "text.dcm").write_bytes(b"hello")
    cases = {
        changed(seg, tmp_path / "label.dcm", no_segment): "no segment matches any of: epiglottis",
        changed(seg, tmp_path / "less.dcm", one_less): "NumberOfFrames",
        study[0]: "not a DICOM Segmentation",
        tmp_path / "cut.dcm": "decoded|cut off",
        tmp_path / "head.dcm": "damaged|empty|NumberOfFrames|not a DICOM",
        tmp_path / "text.dcm": "not a DICOM file",
        tmp_path / "none.dcm": "no such file",
    }
    for path, words in cases.items():
        with pytest.raises(CineReadError, match=words) as error:
            read_seg(path, structures=TARGETS)
        assert "Zaphodson" not in str(error.value)
