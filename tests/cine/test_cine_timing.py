"""Frame times: precedence of sources, assumed rates, repeated frames."""

import numpy as np
import pytest
from dicom_factory import moving_disc, write_cine, write_enhanced, write_series
from pydicom.dataset import Dataset

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.timing import RepeatFinder, dicom_timing, effective_fps, parse_date_time


def header(**tags):
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


ALL = {
    "FrameTime": "40",
    "FrameTimeVector": ["0", "30", "50", "30"],
    "CineRate": "12",
    "RecommendedDisplayFrameRate": "10",
}


@pytest.mark.parametrize(
    ("tags", "times", "source", "assumed"),
    [
        ({"FrameIncrementPointer": 0x00181065, **ALL}, [0, 30, 80, 110], "FrameTimeVector", False),
        ({"FrameIncrementPointer": 0x00181063, **ALL}, [0, 40, 80, 120], "FrameTime", False),
        ({"FrameIncrementPointer": [0x00540010, 0x00181065], **ALL}, [0, 30, 80, 110], "FrameTimeVector", False),
        ({"FrameIncrementPointer": 0x00200013, **ALL}, [0, 40, 80, 120], "FrameTime", False),
        (ALL, [0, 40, 80, 120], "FrameTime", False),
        ({"CineRate": "20", "RecommendedDisplayFrameRate": "10"}, [0, 50, 100, 150], "CineRate", True),
        ({"RecommendedDisplayFrameRate": "10"}, [0, 100, 200, 300], "RecommendedDisplayFrameRate", True),
        ({}, None, "none", False),
        ({"FrameTime": "0", "CineRate": "20"}, [0, 50, 100, 150], "CineRate", True),
        ({"FrameTime": "-33"}, None, "none", False),
        ({"FrameTime": "1e99"}, None, "none", False),
        ({"FrameIncrementPointer": 0x00181065, "FrameTimeVector": ["0", "30"], "FrameTime": "40"}, [0, 40, 80, 120],
         "FrameTime", False),
        ({"FrameTimeVector": ["0", "30", "-5", "30"]}, None, "none", False),
        ({"FrameTimeVector": ["7", "30", "50", "30"]}, [0, 30, 80, 110], "FrameTimeVector", False),
    ],
)  # fmt: skip
def test_precedence_of_sources(tags, times, source, assumed):
    timing = dicom_timing(header(**tags), 4)
    assert (timing.times_ms, timing.source, timing.assumed) == (times, source, assumed)


def test_frame_time_of_a_file(tmp_path):
    cine = open_cine(write_cine(tmp_path / "a.dcm", moving_disc(frames=4), tags={"FrameTime": "66.667"}))
    assert cine.meta["frame_times_ms"] == [0.0, 66.667, 133.334, 200.001]
    assert cine.meta["time_source"] == "FrameTime" and cine.meta["time_assumed"] is False
    cine.read()
    assert cine.meta["effective_fps"] == pytest.approx(15.0, abs=0.01)


def test_without_a_source(tmp_path):
    cine = open_cine(write_cine(tmp_path / "a.dcm", moving_disc(), tags={"FrameTime": None}))
    cine.read()
    assert cine.meta["frame_times_ms"] is None and cine.meta["effective_fps"] is None
    assert cine.meta["time_source"] == "none"


def test_enhanced_per_frame_times(tmp_path):
    stamps = [f"20240131235959.{part}+0100" for part in ("900000", "933333", "990000")] + ["20240201000000.100000+0100"]
    cine = open_cine(write_enhanced(tmp_path / "a.dcm", moving_disc(frames=4), stamps))
    assert cine.meta["frame_times_ms"] == pytest.approx([0, 33.333, 90, 200])
    assert cine.meta["time_source"] == "FrameReferenceDateTime"
    assert cine.meta["spacing_mm"] == pytest.approx((0.25, 0.2))


def test_descending_enhanced_times_are_skipped(tmp_path):
    stamps = ["20240131120000.2", "20240131120000.1", "20240131120000.3"]
    path = write_enhanced(tmp_path / "a.dcm", moving_disc(frames=3), stamps, tags={"FrameTime": "40"})
    assert open_cine(path).meta["time_source"] == "FrameTime"


def test_acquisition_times_of_a_series(tmp_path):
    def each(number):
        return {"AcquisitionDate": "20240131", "AcquisitionTime": f"1015{number:02d}.5"}

    cine = open_cine(write_series(tmp_path / "s", moving_disc(frames=5), each=each))
    assert cine.meta["frame_times_ms"] == [0, 1000, 2000, 3000, 4000]
    assert cine.meta["time_source"] == "AcquisitionTime"


def test_date_times():
    assert parse_date_time("20240131120000.25") - parse_date_time("20240131120000") == 250
    assert parse_date_time("20240131", "120000.25") == parse_date_time("20240131120000.25")
    assert parse_date_time("20240131120000+0200") == parse_date_time("20240131100000")
    assert parse_date_time("20240131120000-0530") == parse_date_time("20240131173000")
    for bad in ("", "Zaphodson^Trillian", "20241331120000", "2024"):
        assert parse_date_time(bad) is None


@pytest.mark.parametrize("syntax", ["explicit", "sv1", "jpeg"])
def test_15_pulses_per_second_recorded_at_30_frames_per_second(tmp_path, syntax):
    pulses = moving_disc(frames=10, rows=96, cols=96)
    frames = np.repeat(pulses, 2, axis=0)
    cine = open_cine(write_cine(tmp_path / "a.dcm", frames, syntax))
    cine.read()
    assert cine.meta["repeated_frames"] == list(range(1, 20, 2))
    assert cine.meta["effective_fps"] == pytest.approx(15.0, abs=0.01)


def test_scan(tmp_path):
    frames = np.repeat(moving_disc(frames=4), 3, axis=0)
    cine = open_cine(write_cine(tmp_path / "a.dcm", frames))
    assert cine.meta["repeated_frames"] == []
    assert cine.scan()["repeated_frames"] == [1, 2, 4, 5, 7, 8, 10, 11]
    assert cine.meta["effective_fps"] == pytest.approx(10.0, abs=0.01)


def test_near_copies_after_lossy_coding():
    finder = RepeatFinder(lossy=True)
    generator = np.random.default_rng(0)
    for pulse in moving_disc(frames=8, rows=96, cols=96):
        finder.add(pulse)
        finder.add(np.clip(pulse + (generator.random(pulse.shape) < 0.05), 0, 255).astype(np.uint8))
    assert finder.result() == list(range(1, 16, 2))


@pytest.mark.parametrize("lossy", [False, True])
def test_no_repeated_frames(lossy):
    finder = RepeatFinder(lossy)
    for frame in moving_disc(frames=30, rows=64, cols=64):
        finder.add(frame)
    assert finder.result() == []


def test_one_changed_pixel_makes_a_new_frame():
    frame = moving_disc(frames=1)[0]
    other = frame.copy()
    other[3, 5] += 1
    for lossy in (False, True):
        finder = RepeatFinder(lossy)
        for item in (frame, other, other):
            finder.add(item)
        assert finder.result() == [2]


def test_effective_fps():
    assert effective_fps([0, 100, 200, 300], []) == 10
    assert effective_fps([0, 100, 200, 300], [1, 3]) == 5
    assert effective_fps([0.0], []) is None and effective_fps(None, []) is None
