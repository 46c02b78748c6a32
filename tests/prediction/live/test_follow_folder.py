"""predict --follow on a folder: files that arrive, in part, out of order, or not at all."""

import json
import os
import shutil
import threading
import time

import nibabel as nib
import numpy as np
import pytest
from app_samples import write_cine
from live_samples import moving_frames
from PIL import Image

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.dicom import CineOptions
from monai_agglo.prediction.live import follow
from monai_agglo.prediction.live.frame_source import StreamError
from monai_agglo.prediction.live.live_folder import END_MARK, LiveFolder
from monai_agglo.prediction.run import predict
from monai_agglo.prediction.segmenter import Segmenter


def masks_in(folder):
    return np.asarray(nib.load(folder / "masks.nii.gz").dataobj)


def in_background(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def drop(folder, path, pause=0.03):
    """Copy a file as a slow writer does: the first half, a while, the rest."""
    data = path.read_bytes()
    with open(folder / path.name, "wb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        time.sleep(pause)
        file.write(data[len(data) // 2 :])


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    for number, frame in enumerate(moving_frames(12)):
        Image.fromarray(frame).save(folder / f"frame_{number}.png")
    return folder


def taken(folder, stall_s=0.5):
    """The frames of a folder and how it ended, without a network."""
    source = LiveFolder(folder, CineOptions(), stall_s, stall_s)
    return list(source.arrivals()), source


def test_pictures_in_the_order_of_their_numbers(tmp_path, pictures, random_bundle, monkeypatch):
    """Half-written files are waited for; frame_9 comes before frame_10; two lay there before the start."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (0, 1):
        shutil.copy(pictures / f"frame_{number}.png", folder)
    (folder / "notes.txt").write_text("no frame")

    begun = threading.Event()  # the two have been seen

    tidied = []
    monkeypatch.setattr("monai_agglo.prediction.live.session.TIDY_EVERY", 5)
    monkeypatch.setattr("monai_agglo.prediction.live.session.give_back", lambda: tidied.append(True))

    def write():
        begun.wait(600)
        for number in range(2, 12):
            drop(folder, pictures / f"frame_{number}.png")
        (folder / END_MARK).touch()

    writer = in_background(write)
    frames = list(moving_frames(12))
    limits = Segmenter(random_bundle).intensity_range(iter(frames))
    options = {"limits": limits, "fps": 10, "stall_s": 300, "runtime": "torch"}
    report = follow(folder, tmp_path / "out", random_bundle, on_frame=lambda *_: begun.set(), **options)
    writer.join()
    assert report.exit_code == 0 and report.record["live"]["ended"] == "the file END ended it"
    assert len(tidied) == 2  # memory stays flat however long the stream is
    segmenter = Segmenter(random_bundle, runtime="torch")
    wanted = np.stack([segmenter.segment_window([frame], limits)[0].masks for frame in frames])
    np.testing.assert_array_equal(masks_in(tmp_path / "out"), wanted.transpose(2, 3, 0, 1))
    latency = report.record["live"]["latency_ms"]
    assert latency["measured_frames"] == 10 and latency["per_frame"][:2] == [None, None]
    assert report.record["frames"]["frame_times_ms"][3] == 300
    assert report.record["frames"]["time_source"] == "given by the user"
    assert str(tmp_path) not in json.dumps(report.record)


def test_instances_of_a_series_are_the_cine_that_predict_makes_of_them(tmp_path, random_bundle):
    made, folder = tmp_path / "made", tmp_path / "Zaphodson"
    made.mkdir()
    folder.mkdir()
    for number, name in enumerate(["z", "m", "a", "k", "b"], 1):
        tags = {"AcquisitionDate": "20240102", "AcquisitionTime": f"1015{number:02d}.500"}
        write_cine(made / f"{name}.dcm", 1, seed=number, series="1.2.3.4", number=number, **tags)
    predict(made, tmp_path / "offline", random_bundle)

    def write():
        for name in ("z", "m", "a", "k", "b"):
            drop(folder, made / f"{name}.dcm")
            time.sleep(0.06)

    writer = in_background(write)
    limits = Segmenter(random_bundle).intensity_range(open_cine(made))
    report = follow(folder, tmp_path / "live", random_bundle, limits=limits, frames=5)
    writer.join()
    offline = json.loads((tmp_path / "offline" / "predict.json").read_text())
    assert report.exit_code == 0 and "the 5 frames asked for" in report.record["live"]["ended"]
    np.testing.assert_array_equal(masks_in(tmp_path / "live"), masks_in(tmp_path / "offline"))
    assert report.record["source"] == offline["source"] and report.record["frames"] == offline["frames"]
    assert report.record["frames"]["frame_times_ms"] == [0, 1000, 2000, 3000, 4000]
    np.testing.assert_array_equal(
        nib.load(tmp_path / "live" / "masks.nii.gz").affine, nib.load(tmp_path / "offline" / "masks.nii.gz").affine
    )
    assert "Zaphodson" not in json.dumps(report.record)


def test_a_file_that_never_becomes_whole_stalls_and_is_named(tmp_path, pictures, random_bundle):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        shutil.copy(pictures / f"frame_{number}.png", folder)
    (folder / "frame_3.png").write_bytes((pictures / "frame_3.png").read_bytes()[:-300])
    shutil.copy(pictures / "frame_4.png", folder)
    report = follow(folder, tmp_path / "out", random_bundle, stall_s=0.5)
    assert report.exit_code == 1 and masks_in(tmp_path / "out").shape[2] == 3
    assert "did not become whole within 0.5 s" in str(report) and "frame_3.png" in str(report)
    record = (tmp_path / "out" / "predict.json").read_text()
    assert json.loads(record)["live"]["complete"] is False and "frame_3.png" not in record


def test_late_files_and_other_series_are_left_out_and_counted(tmp_path, pictures, random_bundle):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (0, 2):
        shutil.copy(pictures / f"frame_{number}.png", folder)

    source = LiveFolder(folder, CineOptions(), 30, 30)
    arrivals = source.arrivals()
    got = [next(arrivals), next(arrivals)]
    for number in (1, 3):
        shutil.copy(pictures / f"frame_{number}.png", folder)
    (folder / END_MARK).touch()
    got += arrivals
    wanted = [np.asarray(Image.open(pictures / f"frame_{number}.png")) for number in (0, 2, 3)]
    assert len(got) == 3 and all((a.frame == b).all() for a, b in zip(got, wanted))
    assert source.left_out == 1 and source.ending.whole
    report = follow(folder, tmp_path / "out", random_bundle)  # all there: now each is in its place
    assert report.exit_code == 0 and masks_in(tmp_path / "out").shape[2] == 4

    series = tmp_path / "series"
    series.mkdir()
    write_cine(series / "1.dcm", 1, series="1.2.3", number=1)
    write_cine(series / "2.dcm", 1, series="1.2.9", number=2)
    (series / END_MARK).touch()
    got, source = taken(series)
    assert len(got) == 1 and source.left_out == 1
    report = follow(series, tmp_path / "other", random_bundle)
    assert report.exit_code == 1 and "belong to another series" in str(report)


def test_an_instance_waits_for_those_that_came_with_it(tmp_path):
    """A slow listing shows instance 1 in part beside the whole instance 2, whose name comes first."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate("kb", 1):
        write_cine(tmp_path / f"{name}.dcm", 1, seed=number, series="1.2.3", number=number)
    data = (tmp_path / "k.dcm").read_bytes()
    (folder / "k.dcm").write_bytes(data[: len(data) // 2])
    shutil.copy(tmp_path / "b.dcm", folder)
    source = LiveFolder(folder, CineOptions(), 30, 30)
    assert source._look() == ([], False)
    (folder / "k.dcm").write_bytes(data)
    assert source._look() == ([], False)
    (folder / END_MARK).touch()
    wanted = [open_cine(tmp_path / f"{name}.dcm").frames([0]) for name in "kb"]
    got = [arrival.frame for arrival in source.arrivals()]
    assert len(got) == 2 and all((a == np.asarray(b)).all() for a, (b,) in zip(got, wanted)) and source.left_out == 0


def test_an_instance_does_not_wait_for_one_that_came_later(tmp_path):
    """Names of instances tell nothing: z, whole before m came, is not held up by m and never taken after it."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate("zma", 1):
        write_cine(tmp_path / f"{name}.dcm", 1, seed=number, series="1.2.3", number=number)
    source = LiveFolder(folder, CineOptions(), 30, 30)
    shutil.copy(tmp_path / "z.dcm", folder)
    assert source._look() == ([], False)
    (folder / "m.dcm").write_bytes((tmp_path / "m.dcm").read_bytes()[:500])
    assert source._look() == ([folder / "z.dcm"], False)
    shutil.copy(tmp_path / "m.dcm", folder)
    shutil.copy(tmp_path / "a.dcm", folder)
    assert source._look() == ([folder / "z.dcm"], False)
    (folder / END_MARK).touch()
    wanted = [open_cine(tmp_path / f"{name}.dcm").frames([0]) for name in "zma"]
    got = [arrival.frame for arrival in source.arrivals()]
    assert len(got) == 3 and all((a == np.asarray(b)).all() for a, (b,) in zip(got, wanted)) and source.left_out == 0


def test_an_instance_cut_off_within_its_header_holds_up_the_others(tmp_path):
    """Its number is not known yet, so nothing can be said to come before it."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate("ba", 1):
        write_cine(tmp_path / f"{name}.dcm", 1, seed=number, series="1.2.3", number=number)
    (folder / "b.dcm").write_bytes((tmp_path / "b.dcm").read_bytes()[:500])
    shutil.copy(tmp_path / "a.dcm", folder)
    got, source = taken(folder)
    assert got == [] and "did not become whole" in source.ending.reason and "b.dcm" in source.ending.detail


def test_silence_ends_it_with_a_hint(tmp_path, pictures):
    got, source = taken(pictures)
    assert len(got) == 12 and not source.ending.whole
    assert source.ending.reason == "the stream stalled after frame 12: nothing came for 0.5 s"
    assert END_MARK in source.ending.detail


def test_what_is_no_frame_is_refused_in_a_sentence(tmp_path, pictures, random_bundle):
    many = tmp_path / "many"
    many.mkdir()
    write_cine(many / "cine.dcm", 4)
    with pytest.raises(StreamError, match=r"cine.dcm: it holds 4 frames; a folder that is followed takes single"):
        taken(many)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(pictures / "frame_12.png")
    (pictures / END_MARK).touch()
    report = follow(pictures, tmp_path / "out", random_bundle)
    assert report.exit_code == 1 and masks_in(tmp_path / "out").shape[2] == 12
    assert "frame 13 has another size than the first" in str(report)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StreamError, match="no whole frame came; the stream stalled after frame 0"):
        follow(tmp_path / "empty", tmp_path / "no", random_bundle, first_s=0.2)
    assert not (tmp_path / "no").exists()


def test_hidden_and_partial_names_are_not_looked_at(tmp_path, pictures):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(pictures / "frame_0.png", folder / ".frame_0.png")
    shutil.copy(pictures / "frame_0.png", folder / "frame_0.png.part")
    shutil.copy(pictures / "frame_1.png", folder)
    os.replace(folder / "frame_1.png", folder / "frame_2.png")
    (folder / END_MARK).touch()
    got, _ = taken(folder)
    assert len(got) == 1
