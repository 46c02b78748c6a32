"""predict --follow on video: a pipe, a growing file, a device; what stalls, breaks off or comes in part."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from live_samples import encode, feed, moving_frames, shifted_bundle

from monai_agglo.cine.cine import open_cine
from monai_agglo.prediction.live import follow
from monai_agglo.prediction.live.frame_source import QUEUE, Arrival, Ending, Reader, StreamError
from monai_agglo.prediction.run import predict
from monai_agglo.prediction.segmenter import BundleError, Segmenter

FILES = ["contact_sheet.png", "masks.nii.gz", "overlay.mp4", "predict.json"]
posix = pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")


def masks_in(folder):
    return np.asarray(nib.load(folder / "masks.nii.gz").dataobj)


def record_in(folder):
    return json.loads((folder / "predict.json").read_text(encoding="utf-8"))


def limits_of(bundle, path):
    return Segmenter(bundle).intensity_range(open_cine(path))


HELPERS = str(Path(__file__).parents[2] / "helpers")


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@posix
@pytest.mark.parametrize(
    ("kind", "runtime"), [("plain", "auto"), ("causal", "torch"), ("causal", "onnxruntime"), ("looks ahead", "torch")]
)
def test_a_pipe_gives_exactly_the_masks_of_the_whole_file(tmp_path, pipe, random_bundle, kind, runtime):
    bundle = random_bundle if kind == "plain" else shifted_bundle(tmp_path / "b", kind == "causal")
    whole = encode(str(tmp_path / "whole.ts"), "mpegts", moving_frames(14))
    limits = limits_of(bundle, whole)
    predict(whole, tmp_path / "offline", bundle, runtime=runtime)
    feeder = feed(tmp_path / "whole.ts", pipe)
    seen = []
    options = {"limits": limits, "runtime": runtime, "on_frame": lambda item, ms: seen.append((item, ms))}
    report = follow(pipe, tmp_path / "live", bundle, **options)
    assert feeder.wait() == 0 and report.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "live").iterdir()) == FILES
    np.testing.assert_array_equal(masks_in(tmp_path / "live"), masks_in(tmp_path / "offline"))
    assert 0.01 < masks_in(tmp_path / "live").mean() < 0.95
    live, offline = record_in(tmp_path / "live"), record_in(tmp_path / "offline")
    assert live["frames"] == offline["frames"] and live["area_px"] == offline["area_px"]
    about = live["live"]
    assert about["complete"] is True and about["problem"] is None and about["kind"] == "pipe"
    assert about["ended"] == "its writer closed the pipe"
    assert about["lookahead_frames"] == (1 if kind == "looks ahead" else 0)
    memory = {"plain": "none", "causal": "features of the frame before", "looks ahead": "1 frames before and after"}
    assert about["memory"] == ("the 1 frames before" if runtime == "onnxruntime" else memory[kind])
    latency = about["latency_ms"]
    assert latency["measured_frames"] == len(latency["per_frame"]) == 14
    assert latency["per_frame"] == [round(ms, 2) for _, ms in seen] and min(latency["per_frame"]) > 0
    assert latency["worst"] == max(latency["per_frame"]) >= latency["p95"] >= latency["median"]
    assert [item.index for item, _ in seen] == list(range(14))
    assert about["limits"]["source"] == "given by the user"
    assert f"median {latency['median']} ms" in str(report)


def test_the_carried_state_is_what_makes_them_equal(tmp_path):
    """Without it each frame would be the first one, and the masks others."""
    bundle = shifted_bundle(tmp_path / "b", causal=True)
    segmenter, frames = Segmenter(bundle), list(moving_frames(6))
    limits = segmenter.intensity_range(iter(frames))
    whole = segmenter.segment_window(frames, limits)
    alone = [segmenter.segment_window([frame], limits)[0] for frame in frames]
    assert (whole[0].masks == alone[0].masks).all()
    assert any((a.masks != b.masks).any() for a, b in zip(whole[1:], alone[1:]))


def test_context_that_the_bundle_forgot_is_refused(tmp_path):
    bundle = shifted_bundle(tmp_path / "b", causal=True, context=0)
    whole = encode(str(tmp_path / "whole.ts"), "mpegts", moving_frames(3))
    with pytest.raises(BundleError, match="context 0: set it to 1"):
        follow(whole, tmp_path / "out", bundle)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["avi", "matroska"])
def test_a_growing_file_ends_when_its_writer_finished_it(tmp_path, random_bundle, form):
    """The writer goes back to the header at the end, as FFmpeg does; only then the file says that it is whole."""
    script = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from live_samples import encode, moving_frames\n"
        "def slow():\n"
        "    for frame in moving_frames(9):\n"
        "        yield frame; time.sleep(0.03)\n"
        f"encode(sys.argv[1], {form!r}, slow())\n"
    )
    target, here = tmp_path / "growing", os.path.dirname(__file__)
    writer = subprocess.Popen([sys.executable, "-c", script, str(target), here, HELPERS])
    while not target.exists():
        assert writer.poll() in (None, 0)
        time.sleep(0.01)
    report = follow(target, tmp_path / "live", random_bundle, stall_s=30)
    assert writer.wait() == 0 and report.exit_code == 0
    assert report.record["live"]["ended"] == "its writer finished the file"
    predict(target, tmp_path / "offline", random_bundle)  # nine frames: the estimate has seen all of them in the end
    assert masks_in(tmp_path / "live").shape == masks_in(tmp_path / "offline").shape == (64, 80, 9, 12)
    assert report.record["source"] == record_in(tmp_path / "offline")["source"]
    steps = report.record["live"]["limits"]["steps"]
    assert [step["from_frame"] for step in steps] == [0, 1, 3, 7]
    assert report.record["live"]["limits"]["source"] == "estimated from the first 9 frames"


def test_limits_freeze_after_the_first_frames(random_bundle):
    from monai_agglo.prediction.live.limits import LiveLimits

    segmenter, frames = Segmenter(random_bundle), list(moving_frames(20))
    limits = LiveLimits(segmenter, freeze_after=10)
    used = [limits.of(frame if t < 10 else frame // 4) for t, frame in enumerate(frames)]
    assert used[9] == segmenter.intensity_range(iter(frames[:10])) and set(used[9:]) == {used[9]}
    assert used[0] == segmenter.intensity_range(iter(frames[:1])) != used[9]
    assert [step["from_frame"] for step in limits.record()["steps"]] == [0, 1, 3, 7, 9]
    for wrong in ([3, 2], [1], [0, float("nan")]):
        with pytest.raises(ValueError, match="the lower first"):
            LiveLimits(segmenter, wrong)


@posix
def test_a_stream_that_stalls_is_kept_and_said_to_be_incomplete(tmp_path, pipe, random_bundle):
    whole = encode(str(tmp_path / "whole.ts"), "mpegts", moving_frames(6))
    feeder = feed(tmp_path / "whole.ts", pipe, hold=60)
    try:
        report = follow(pipe, tmp_path / "live", random_bundle, limits=limits_of(random_bundle, whole), stall_s=1.5)
    finally:
        feeder.kill()
        feeder.wait()
    assert report.exit_code == 1
    assert "incomplete: the stream stalled after frame 6: nothing came for 1.5 s" in str(report)
    live = record_in(tmp_path / "live")
    assert live["live"]["complete"] is False and "stalled" in live["live"]["problem"]
    assert live["warnings"][0].startswith("The stream is not complete: the stream stalled after frame 6")
    predict(whole, tmp_path / "offline", random_bundle)
    np.testing.assert_array_equal(masks_in(tmp_path / "live"), masks_in(tmp_path / "offline"))


@pytest.mark.parametrize("form", ["mpegts", "matroska", "avi", "mpeg2video"])
def test_a_stream_that_ends_within_a_frame_keeps_the_whole_ones(tmp_path, form):
    """Every frame that is given is one of the whole file, and a cut is never taken for an end."""
    from monai_agglo.prediction.live.live_video import open_live_video

    encode(str(tmp_path / "whole"), form, moving_frames(8))
    data = (tmp_path / "whole").read_bytes()
    whole = list(open_cine(tmp_path / "whole").frames())
    counts = set()
    for part in (0.55, 0.7, 0.83):
        (tmp_path / "cut").write_bytes(data[: int(part * len(data))])
        source = open_live_video(str(tmp_path / "cut"), 0.4, 0.4)
        got = [arrival.frame for arrival in source.arrivals()]
        source.close()
        counts.add(len(got))
        assert 0 < len(got) < 8 and all((a == b).all() for a, b in zip(got, whole))
        assert source.ending.whole is False and source.ending.reason.endswith("within a frame")
    assert len(counts) == 3


@posix
def test_a_pipe_that_closes_within_a_frame(tmp_path, pipe, random_bundle):
    encode(str(tmp_path / "whole.ts"), "mpegts", moving_frames(8))
    data = (tmp_path / "whole.ts").read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[: int(0.7 * len(data)) // 188 * 188])
    feeder = feed(tmp_path / "cut.ts", pipe)
    report = follow(pipe, tmp_path / "live", random_bundle)
    assert feeder.wait() == 0 and report.exit_code == 1
    count = record_in(tmp_path / "live")["frames"]["count"]
    assert f"the stream ended within a frame, after frame {count}; the whole frames before are kept" in str(report)
    assert record_in(tmp_path / "live")["live"]["complete"] is False and masks_in(tmp_path / "live").shape[2] == count


@posix
def test_nothing_is_written_when_nothing_comes(tmp_path, pipe, random_bundle):
    with pytest.raises(StreamError, match="nothing came for 0.3 s"):
        follow(pipe, tmp_path / "a" / "out", random_bundle, stall_s=0.3, first_s=0.3)
    (tmp_path / "notes.avi").write_text("these are notes\n" * 99)
    with pytest.raises(StreamError, match="no video stream"):
        follow(tmp_path / "notes.avi", tmp_path / "a" / "out", random_bundle, stall_s=0.3)
    (tmp_path / "x.mp4").write_bytes(b"\0\0\0\x14ftypisom\0\0\0\0isom\0\0\0\x08free\0\0\x10\0mdat" + bytes(900))
    with pytest.raises(StreamError, match="have their index at the end"):
        follow(tmp_path / "x.mp4", tmp_path / "a" / "out", random_bundle, stall_s=0.3)
    with pytest.raises(StreamError, match="no such file, folder, pipe or device"):
        follow(tmp_path / "absent.avi", tmp_path / "a" / "out", random_bundle)
    for wrong in ({"stall_s": 0}, {"frames": 0}, {"limits": (2, 1)}, {"spacing_mm": -1}):
        with pytest.raises(ValueError, match="not"):
            follow(pipe, tmp_path / "a" / "out", random_bundle, **wrong)
    assert not list((tmp_path / "a").rglob("*"))


def test_a_device_through_ffmpeg(tmp_path, random_bundle):
    """FFmpeg's own test pictures come by the same way as those of a camera."""
    report = follow("lavfi:testsrc=size=80x64:rate=20:duration=0.5", tmp_path / "out", random_bundle)
    assert report.exit_code == 0 and report.record["frames"]["count"] == 10
    assert report.record["live"]["kind"] == "device" and report.record["live"]["complete"] is True
    report = follow("lavfi:testsrc=size=80x64:rate=20", tmp_path / "six", random_bundle, frames=6)
    assert report.exit_code == 0 and masks_in(tmp_path / "six").shape[2] == 6
    assert report.record["live"]["ended"] == "the 6 frames asked for have come"
    with pytest.raises(StreamError, match="the device cannot be opened"):
        follow("v4l2:/dev/video99", tmp_path / "no", random_bundle)


@posix
def test_ctrl_c_ends_a_device_and_keeps_the_frames(tmp_path, random_bundle):
    def stop(item, _):
        if item.index == 4:
            os.kill(os.getpid(), signal.SIGINT)

    report = follow("lavfi:testsrc=size=80x64:rate=50", tmp_path / "out", random_bundle, on_frame=stop)
    assert report.exit_code == 0 and report.record["live"]["complete"] is True
    assert "stopped after frame" in report.record["live"]["ended"]
    assert masks_in(tmp_path / "out").shape[2] == report.record["frames"]["count"] == 5
    assert len(report.record["live"]["latency_ms"]["per_frame"]) == 5


def test_a_fast_source_waits_so_that_memory_does_not_grow():
    class Fast:
        kind, ending, damaged, left_out, silence_s = "file", None, 0, 0, None
        given = 0

        def arrivals(self):
            for _ in range(500):
                self.given += 1
                yield Arrival(np.zeros((4, 4), np.uint8), None)
            self.ending = Ending("the end", whole=True)

        def close(self):
            pass

    source = Fast()
    reader = Reader(source)
    for taken, _ in enumerate(reader, 1):
        time.sleep(0.0005)
        assert source.given - taken <= QUEUE + 2
    reader.close()
    assert taken == 500


@posix
def test_command_line_and_a_kill_leaves_nothing_that_looks_whole(tmp_path, pipe, random_bundle):
    encode(str(tmp_path / "whole.ts"), "mpegts", moving_frames(6))
    command = [sys.executable, "-m", "monai_agglo", "predict", str(pipe), "--follow", "--bundle", str(random_bundle)]
    command += ["--device", "cpu", "--limits", "20", "230", "--stall", "60", "--output"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    feeder = feed(tmp_path / "whole.ts", pipe)
    done = subprocess.run([*command, str(tmp_path / "out")], **options, timeout=600)
    assert feeder.wait() == 0 and done.returncode == 0, done.stderr
    assert "6 frames, latency median" in done.stdout and "p95" in done.stderr
    feeder = feed(tmp_path / "whole.ts", pipe, hold=60)
    process = subprocess.Popen([*command, str(tmp_path / "killed")], **options)
    try:
        end = time.monotonic() + 300
        while not list(tmp_path.glob(".killed.*.part")) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        feeder.kill()
        feeder.wait()
    assert not (tmp_path / "killed").exists() and not list(tmp_path.rglob(".killed.*/predict.json"))
