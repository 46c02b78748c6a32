"""The overlay as a secondary capture, with and without identity."""

import numpy as np
import pydicom
import pytest
from result_samples import FRAMES, PATIENT, dciodvfy, per_frame, write_small_study

from monai_agglo.cine.cine import open_cine
from monai_agglo.dicom.overlay import write_overlay_dicom
from monai_agglo.dicom.result_source import ResultSource


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_small_study(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("times", ["even", "uneven", None])
def test_colour_cine(study, tmp_path, times):
    cine, masks = study
    steps = {"even": np.arange(FRAMES) * 40.0, "uneven": np.cumsum(range(FRAMES)) * 10.0, None: None}[times]
    source = ResultSource.read(cine)
    frames = open_cine(cine).frames()
    path = write_overlay_dicom(tmp_path / "o.dcm", source, frames, per_frame(masks), times_ms=steps)
    assert not dciodvfy(path)
    ds = pydicom.dcmread(path)
    pixels = ds.pixel_array
    assert pixels.shape == (FRAMES, ds.Rows, ds.Columns, 3)
    rgb = pydicom.pixels.convert_color_space(pixels, "YBR_FULL", "RGB") if pixels[0].std() == 0 else pixels
    assert np.abs(rgb[0].astype(int)[..., 0] - rgb[0][..., 2]).max() > 60, "no colour in it"
    assert not np.array_equal(pixels[0], pixels[3])  # frame 3 has no mask
    if times == "even":
        assert float(ds.FrameTime) == 40 and ds.CineRate == 25
    elif times == "uneven":
        assert [float(x) for x in ds.FrameTimeVector] == [0, *(10.0 * t for t in range(1, FRAMES))]
    else:
        assert "FrameTime" not in ds
    if times:
        read = open_cine(path, any_modality=True)
        assert read.meta["frame_times_ms"] == pytest.approx(list(steps))


def test_identity(study, tmp_path):
    ds = pydicom.dcmread(study[0])
    for key, value in PATIENT.items():
        setattr(ds, key, value)
    ds.save_as(tmp_path / "cine.dcm")
    for keep in (False, True):
        source = ResultSource.read(tmp_path / "cine.dcm", keep_identity=keep)
        frames = open_cine(study[0]).frames()
        path = write_overlay_dicom(tmp_path / "o.dcm", source, frames, per_frame(study[1]))
        found = [text for text in PATIENT.values() if text.encode() in path.read_bytes()]
        assert found == (list(PATIENT.values()) if keep else [])


def test_too_few_frames_leave_no_file(study, tmp_path):
    source = ResultSource.read(study[0])
    with pytest.raises(ValueError, match=f"2 of the {FRAMES} frames"):
        write_overlay_dicom(tmp_path / "o.dcm", source, open_cine(study[0]).frames([0, 1]), per_frame(study[1]))
    assert not list(tmp_path.iterdir())
