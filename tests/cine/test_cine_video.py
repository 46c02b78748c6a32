"""Video exports and video inside DICOM."""

import io
import shutil

import numpy as np
import pytest
from dicom_factory import _VIDEO, encode_video, moving_disc, write_cine, write_video
from monai.transforms import LoadImaged

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError

FRAMES = moving_disc(frames=12, rows=64, cols=96)

KINDS = [
    ("avi", "mjpeg", "yuvj420p", 4.0), ("avi", "mpeg4", "yuv420p", 5.0), ("avi", "ffv1", "gray", 0.0),
    ("avi", "rawvideo", "bgr24", 0.0), ("mp4", "libx264", "yuv420p", 4.0), ("mov", "libx264", "yuvj420p", 4.0),
    ("matroska", "libx264", "yuv420p", 4.0), ("asf", "wmv2", "yuv420p", 5.0), ("mpegts", "mpeg2video", "yuv420p", 5.0),
    ("mpeg", "mpeg2video", "yuv420p", 5.0), ("mp4", "libx265", "yuv420p", 5.0),
    ("avi", "ffv1", "yuv422p10le", 3.0), ("avi", "ffv1", "bgr0", 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec", "pix_fmt", "mean"), KINDS)
def test_containers_and_codecs(tmp_path, container, codec, pix_fmt, mean):
    options = {"crf": "8", "x265-params": "log-level=none"} if codec.startswith("libx26") else {}
    if codec == "libx264":
        del options["x265-params"]
    path = tmp_path / "clip.dat"  # the format is detected from the content
    write_video(str(path), FRAMES, container, codec, 25, options, pix_fmt)
    image = LoadImaged("image", reader="monai_agglo.data.CineVideoReader")({"image": str(path)})["image"]
    assert image.shape == (64, 96, 12)
    bits = image.meta["bits_stored"]
    assert bits == (10 if "10" in pix_fmt else 8)
    array = image.numpy() * (255 / ((1 << bits) - 1))
    assert np.abs(array - FRAMES.transpose(1, 2, 0)).mean() <= mean
    assert image.meta["source_format"] == "video" and image.meta["time_source"] in ("PTS", "video frame rate")
    assert image.meta["frame_times_ms"] == pytest.approx(np.arange(12) * 40.0, abs=2.0)
    assert image.meta["effective_fps"] == pytest.approx(25, rel=0.02)
    assert image.meta["spacing_known"] is False and "spacing_mm" not in image.meta


@pytest.mark.parametrize(("codec", "pix_fmt"), [
    ("libx264", "gray"), ("libx264", "yuv420p"), ("libx264", "yuvj420p"), ("ffv1", "gray"), ("ffv1", "yuv420p"),
    ("ffv1", "gray16le"), ("libx264", "gray10le"),
])  # fmt: skip
def test_luminance_has_full_range(tmp_path, codec, pix_fmt):
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (4, 64, 1))
    write_video(str(tmp_path / "x"), ramp, "matroska", codec, 25, {"crf": "1"} if codec == "libx264" else {}, pix_fmt)
    cine = open_cine(tmp_path / "x")
    array = cine.read() * (255 / ((1 << cine.meta["bits_stored"]) - 1))
    assert np.abs(array[..., 2] - ramp[2]).mean() < 0.6


def test_variable_frame_rate_from_pts(tmp_path):
    times = [0, 33, 67, 100, 200, 233, 400, 433, 467, 500, 533, 567]
    write_video(str(tmp_path / "x.mp4"), FRAMES, "mp4", "libx264", 30, {"bf": "2"}, times=times)
    meta = open_cine(tmp_path / "x.mp4").meta
    assert meta["time_source"] == "PTS" and not meta["time_assumed"]
    assert meta["frame_times_ms"] == pytest.approx(times, abs=1.0)


def test_slices_of_a_video(tmp_path):
    write_video(str(tmp_path / "x.mp4"), FRAMES, "mp4", "libx264", 30, {"bf": "2", "g": "5"})
    cine = open_cine(tmp_path / "x.mp4")
    whole = cine.read()
    np.testing.assert_array_equal(cine.read(slice(3, 9, 2)), whole[..., 3:9:2])
    for number, frame in enumerate(cine.frames()):
        np.testing.assert_array_equal(frame, whole[..., number])


def test_15_pulses_in_a_30_fps_video(tmp_path):
    pulses = moving_disc(frames=10, rows=128, cols=128)
    write_video(str(tmp_path / "x.avi"), np.repeat(pulses, 2, axis=0), "avi", "libx264", 30, {"crf": "20"})
    cine = open_cine(tmp_path / "x.avi")
    cine.read()
    assert cine.meta["repeated_frames"] == list(range(1, 20, 2))
    assert cine.meta["effective_fps"] == pytest.approx(15, rel=0.02)


def test_dicom_times_take_precedence_over_the_stream(tmp_path):
    path = write_cine(tmp_path / "a.dcm", FRAMES, "h264", kind="Video", tags={"FrameTime": "40"})
    meta = open_cine(path).meta
    assert meta["time_source"] == "FrameTime" and meta["frame_times_ms"][1] == 40
    path = write_cine(tmp_path / "b.dcm", FRAMES, "h264", kind="Video", tags={"FrameTime": None})
    meta = open_cine(path).meta
    assert meta["time_assumed"] and meta["frame_times_ms"] is not None


@pytest.mark.parametrize(
    ("syntax", "container"), [("h264", "mp4"), ("h264", "mpegts"), ("mpeg2", "mpegts"), ("hevc", "mp4")]
)
def test_containers_inside_dicom(tmp_path, syntax, container):
    if container == "mp4":
        write_video(str(tmp_path / "x.mp4"), FRAMES, "mp4", *_codec(syntax))
        stream = (tmp_path / "x.mp4").read_bytes()
    else:
        stream = encode_video(FRAMES, syntax, container)
    path = write_cine(tmp_path / "a.dcm", FRAMES, syntax, coded=[stream + b"\0" * (len(stream) % 2)], fragments=5)
    array = open_cine(path).read()
    assert np.abs(array.astype(int) - FRAMES.transpose(1, 2, 0)).mean() < 4


def _codec(syntax):
    codec, _, options = _VIDEO[syntax]
    return codec, 30, options


def test_every_video_syntax_is_decoded(tmp_path):
    base = "1.2.840.10008.1.2.4."
    for numbers, syntax in (
        (("100", "100.1", "101", "101.1"), "mpeg2"),
        (("102", "102.1", "103", "103.1", "104", "104.1", "105", "105.1", "106", "106.1"), "h264"),
        (("107", "108"), "hevc"),
    ):
        coded = [encode_video(FRAMES[:3], syntax)]
        coded = [coded[0] + b"\0" * (len(coded[0]) % 2)]
        for number in numbers:
            path = write_cine(tmp_path / "a.dcm", FRAMES[:3], base + number, coded=coded)
            assert open_cine(path).read().shape == (64, 96, 3)


def test_size_differs_from_the_header(tmp_path):
    path = write_cine(tmp_path / "a.dcm", FRAMES, "h264", tags={"Rows": 32})
    with pytest.raises(CineReadError, match="64 x 96 pixels, the header 32 x 96"):
        open_cine(path)


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "libx264"), ("avi", "mjpeg"), ("matroska", "libx264"), ("avi", "mpeg4")]
)
def test_truncated_and_damaged_videos(tmp_path, container, codec):
    whole = tmp_path / "whole"
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    write_video(str(whole), np.concatenate([FRAMES] * 3), container, codec, pix_fmt=pix_fmt)
    data = whole.read_bytes()
    cut = tmp_path / "cut"
    for part in (0.01, 0.4, 0.8):
        cut.write_bytes(data[: int(len(data) * part)])
        try:
            array = open_cine(cut).read()
        except CineReadError as error:
            assert "\n" not in str(error)
        else:  # Matroska does not state the number of frames: the remaining ones are read
            assert container == "matroska" and array.shape[:2] == (64, 96) and array.shape[2] < 36
    generator = np.random.default_rng(0)
    for _ in range(15):
        mutant = bytearray(data)
        for _ in range(20):
            mutant[int(generator.integers(12, len(mutant)))] = int(generator.integers(256))
        cut.write_bytes(mutant)
        try:
            cine = open_cine(cut)
            assert cine.read().shape == cine.shape
        except CineReadError as error:
            assert "\n" not in str(error)


def test_file_without_video_stream(tmp_path):
    import av

    with av.open(str(tmp_path / "x.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(CineReadError, match="no video stream"):
        open_cine(tmp_path / "x.mp4")


def test_playlists_are_refused(tmp_path):
    """FFmpeg would open the files and addresses of HLS and concat playlists."""
    write_video(str(tmp_path / "secret.mp4"), FRAMES, "mp4", "libx264")
    for name, content in (
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile secret.mp4\n"),
        ("a.mp4", "#EXTM3U\n#EXTINF:5,\nsecret.mp4\n"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(CineReadError, match="this is not a DICOM file"):
            open_cine(tmp_path / name)


def test_frame_size_limit(tmp_path):
    buffer = io.BytesIO()
    write_video(buffer, np.zeros((1, 4200, 4200), np.uint8), "avi", "mjpeg", pix_fmt="yuvj420p")
    (tmp_path / "x.avi").write_bytes(buffer.getvalue())
    with pytest.raises(CineReadError):
        open_cine(tmp_path / "x.avi").read()


def test_pixel_aspect(tmp_path):
    import av

    with av.open(str(tmp_path / "x.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        for frame in FRAMES:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray").reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    assert open_cine(tmp_path / "x.mp4").meta["pixel_aspect"] == pytest.approx(0.5)


def test_pseudonym_is_independent_of_the_file_name(tmp_path):
    write_video(str(tmp_path / "Zaphodson_Trillian.mp4"), FRAMES, "mp4", "libx264")
    meta = open_cine(tmp_path / "Zaphodson_Trillian.mp4").meta
    assert "Zaphodson" not in repr(meta)
    shutil.copy(tmp_path / "Zaphodson_Trillian.mp4", tmp_path / "b.mp4")
    assert open_cine(tmp_path / "b.mp4").meta["pseudonym"] == meta["pseudonym"]
