"""Overlay video and contact sheet: drawing, timing, atomic output."""

import itertools
import weakref

import av
import numpy as np
import pytest
from PIL import Image

from monai_agglo.pictures.contact_sheet import frame_caption, pick_frames, write_contact_sheet
from monai_agglo.pictures.drawing import draw_overlay, legend, text_block, to_grey8
from monai_agglo.pictures.overlay import write_overlay_video
from monai_agglo.swallow import STRUCTURES, TARGETS, index_of

BOLUS, PHARYNX, C4 = index_of("bolus"), index_of("pharynx"), index_of("c4")


def scene(height=512, width=512, structures=12):
    """A grey ramp with a pharynx around a bolus, and a vertebra."""
    frame = np.tile(np.linspace(40, 200, width, dtype=np.float32), (height, 1))
    masks = np.zeros((structures, height, width), np.uint8)
    h, w = height / 512, width / 512

    def box(channel, y0, y1, x0, x1):
        masks[channel, int(y0 * h) : int(y1 * h), int(x0 * w) : int(x1 * w)] = 1

    box(PHARYNX, 100, 400, 100, 260)
    box(BOLUS, 200, 300, 140, 220)
    box(C4, 200, 260, 320, 440)
    return frame, masks


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
        return (
            stream.codec_context.name,
            stream.codec_context.pix_fmt,
            float(stream.duration * stream.time_base),
            frames,
        )


def test_contours_and_fills():
    frame, masks = scene()
    plain = to_grey8(frame, (0, 255))
    picture = draw_overlay(frame, masks, window=(0, 255), labels=False).astype(int)
    assert picture.shape == (512, 512, 3)
    assert np.abs(picture[200, 380] - TARGETS[C4].color).max() < 40  # contour
    assert np.abs(picture[205:295, 145:215] - plain[205:295, 145:215, None]).max() <= 1  # bolus: no fill
    tint = picture[120, 180] - plain[120, 180]
    assert 0 < np.abs(tint).max() <= 0.15 * 255 + 1  # pharynx: a light fill
    assert np.abs(picture[450:, :] - plain[450:, :, None]).max() == 0  # outside: untouched


def test_contours_are_visible_on_black_and_white():
    _, masks = scene()
    for ground in (0.0, 255.0):
        picture = draw_overlay(np.full((512, 512), ground, np.float32), masks, window=(0, 255)).astype(int)
        for channel, row, column in ((BOLUS, 250, 140), (C4, 230, 320), (PHARYNX, 150, 100)):
            near = picture[row, column - 3 : column + 4]
            contrast = np.abs(near[:, None] - near[None]).max()
            assert contrast > 80, (TARGETS[channel].name, ground)


def test_empty_masks_draw_nothing():
    frame, masks = scene()
    assert np.ptp(draw_overlay(frame, np.zeros_like(masks)), axis=2).max() == 0


def test_auxiliary_structures():
    frame, masks = scene(structures=18)
    masks[index_of("hyoid"), 50:80, 50:90] = 1
    picture = draw_overlay(frame, masks, labels=False).astype(int)
    assert np.abs(picture[50, 70] - STRUCTURES[index_of("hyoid")].color).max() < 40


def test_single_pixel_in_a_large_frame():
    frame, masks = np.zeros((2000, 1500), np.float32), np.zeros((12, 2000, 1500), np.uint8)
    masks[BOLUS, 1001, 701] = 1
    picture = draw_overlay(frame, masks, window=(0, 1), side=(512, 768))
    assert picture.shape == (768, 576, 3)
    assert (np.ptp(picture.astype(int), axis=2) > 60).any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (16, 300)])
def test_tiny_and_long_frames(shape):
    picture = draw_overlay(np.arange(np.prod(shape)).reshape(shape), np.ones((12, *shape), bool))
    assert max(picture.shape) == 512


def test_inconsistent_masks_are_refused():
    frame, masks = scene(64, 64)
    with pytest.raises(ValueError, match="do not match"):
        draw_overlay(frame[:-1], masks)
    with pytest.raises(ValueError, match="do not match"):
        draw_overlay(frame, masks[:3], TARGETS)


def test_constant_and_non_finite_frames():
    assert to_grey8(np.full((4, 4), 7)).max() <= 255
    assert to_grey8(np.array([[np.nan, 1.0], [np.inf, 0.0]])).shape == (2, 2)


def test_video_is_h264_with_the_frame_times(tmp_path):
    times = [0.0, 33.3, 66.7, 100.0, 200.0, 300.0, 333.3]  # variable pulse rate
    frame, masks = scene(120, 100)
    path = tmp_path / "overlay.mp4"
    assert write_overlay_video(path, [frame] * 7, [masks] * 7, times_ms=times, total=7) == 7
    codec, pixels, duration, frames = decode(path)
    assert (codec, pixels) == ("h264", "yuv420p")
    assert [t for t, _ in frames] == pytest.approx([t / 1000 for t in times], abs=1e-3)
    assert duration == pytest.approx(0.3333 + 0.0333, abs=2e-3)
    assert all(size % 2 == 0 for size in frames[0][1].shape[:2])
    assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"]


def test_video_shows_the_plain_frame_and_the_overlay(tmp_path):
    frame, masks = scene()
    write_overlay_video(tmp_path / "o.mp4", [frame] * 2, [masks] * 2, fps=10, window=(0, 255))
    _, _, _, frames = decode(tmp_path / "o.mp4")
    assert [t for t, _ in frames] == pytest.approx([0, 0.1])
    shown = frames[1][1].astype(int)
    plain = to_grey8(frame, (0, 255)).astype(int)
    assert np.abs(shown[:512, :512] - plain[..., None]).mean() < 3
    assert np.ptp(shown[:512, :512], axis=2).mean() < 4  # grey
    assert np.ptp(shown[195:205, 516 + 330 : 516 + 430], axis=2).max() > 60  # coloured contour of the vertebra


def test_playback_of_gaps_repeats_and_stills(tmp_path):
    frame, masks = scene(64, 64)
    write_overlay_video(tmp_path / "gap.mp4", [frame] * 4, [masks] * 4, times_ms=[0, 0, 60_000, 60_040])
    _, _, _, frames = decode(tmp_path / "gap.mp4")
    times = [t for t, _ in frames]
    assert len(times) == 4 and all(b > a for a, b in itertools.pairwise(times)) and times[-1] < 5
    write_overlay_video(tmp_path / "still.mp4", [frame], [masks])
    _, _, duration, frames = decode(tmp_path / "still.mp4")
    assert len(frames) == 1 and duration >= 0.05


def test_captions_state_number_and_time():
    assert frame_caption(11, 96, 366.67) == "frame 12 / 96 · 0.367 s"
    assert frame_caption(0, None, None) == "frame 1"  # unknown time
    assert frame_caption(0, 1, None, "cut off") == "frame 1 / 1 · cut off"
    assert (text_block(["frame 1"], 200, 14) != text_block(["frame 2"], 200, 14)).any()


def test_video_memory_is_constant(tmp_path):
    alive, most = 0, 0

    class Frame(np.ndarray):
        pass

    def gone():
        nonlocal alive
        alive -= 1

    def frames():
        nonlocal alive, most
        for i in range(40):
            frame = np.full((48, 48), i, np.float32).view(Frame)
            weakref.finalize(frame, gone)
            alive += 1
            most = max(most, alive)
            yield frame

    write_overlay_video(tmp_path / "o.mp4", frames(), (np.zeros((12, 48, 48), bool) for _ in range(40)), fps=30)
    assert 1 <= most <= 3


def test_error_keeps_the_old_file_and_removes_the_partial_one(tmp_path):
    frame, masks = scene(64, 64)
    path = tmp_path / "o.mp4"
    path.write_bytes(b"old")

    def breaking():
        yield frame
        raise RuntimeError("frame 2 cannot be decoded")

    with pytest.raises(RuntimeError, match="frame 2"):
        write_overlay_video(path, breaking(), [masks] * 5, fps=5)
    with pytest.raises(ValueError, match="differ in number"):
        write_overlay_video(path, [frame] * 3, [masks] * 2, fps=5)
    with pytest.raises(ValueError, match="no frame"):
        write_overlay_video(path, [], [], fps=5)
    with pytest.raises(ValueError, match="fps"):
        write_overlay_video(path, [frame], [masks], fps=0)
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"] and path.read_bytes() == b"old"


def test_pick_frames():
    areas = np.zeros(300)
    areas[120:180] = 50
    picked = pick_frames(300, 12, areas)
    assert len(picked) == 12 and picked[0] == 0 and picked[-1] == 299
    assert sum(120 <= i < 180 for i in picked) >= 10
    assert pick_frames(5, 12, [0] * 5) == [0, 1, 2, 3, 4]
    assert pick_frames(100, 4) == [0, 33, 66, 99]
    short = pick_frames(100, 12, [1 if i in (50, 52) else 0 for i in range(100)])
    assert len(short) == len(set(short)) == 12 and {0, 50, 52, 99} <= set(short)


def test_contact_sheet(tmp_path):
    frame, masks = scene(256, 256)
    path = tmp_path / "sheet.png"
    write_contact_sheet(
        path, [frame] * 6, [masks] * 6, [0, 33, None, 99, 132, 165], [0, 5, 9, 12, 15, 20],
        total=21, title="case", lines=["21 frames"], notes=["", "", "no vertebral column", "", "", ""], cell=200,
    )  # fmt: skip
    sheet = np.asarray(Image.open(path)).astype(int)
    assert sheet.ndim == 3 and sheet.shape[1] >= 600
    for structure in TARGETS:  # a filled swatch for found structures, otherwise an outline
        pixels = (np.abs(sheet - np.array(structure.color)).max(axis=2) <= 2).sum()
        assert pixels > 40, structure.name
    amber = (np.abs(sheet - (255, 176, 46)).max(axis=2) <= 2).sum()
    assert amber > 4 * 200 * 3  # the border around the flagged frame
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_contact_sheet_of_a_still(tmp_path):
    frame, masks = scene(100, 100)
    write_contact_sheet(tmp_path / "s.png", [frame], [masks])
    sheet = np.asarray(Image.open(tmp_path / "s.png")).astype(int)
    assert np.ptp(sheet[10:690, 10:690], axis=2).max() == 0
    assert np.ptp(sheet[10:690, 720:1400], axis=2).max() > 60


def test_contact_sheet_with_inconsistent_lists(tmp_path):
    frame, masks = scene(32, 32)
    with pytest.raises(ValueError):
        write_contact_sheet(tmp_path / "s.png", [frame] * 2, [masks])
    with pytest.raises(ValueError, match="1 times"):
        write_contact_sheet(tmp_path / "s.png", [frame] * 2, [masks] * 2, [0.0])
    with pytest.raises(ValueError, match="no frame"):
        write_contact_sheet(tmp_path / "s.png", [], [])
    assert not list(tmp_path.iterdir())


def test_legend_marks_missing_structures():
    everything, some = legend(TARGETS, 900, 16), legend(TARGETS, 900, 16, {"bolus"})
    filled = [(picture == TARGETS[0].color).all(axis=2).sum() for picture in (everything, some)]
    assert filled[1] < 0.6 * filled[0]
    narrow = legend(TARGETS, 260, 16)
    assert narrow.shape[0] > everything.shape[0] and narrow.shape[1] == 260
