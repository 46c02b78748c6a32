"""Windows of a frame: what they show lies where they say, and cells outside do not count."""

import numpy as np
import pytest
import torch
from cache_teachers import Wide, make_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_agglo.data import StudentFrameDataset
from monai_agglo.data.feature_cache.build import build_feature_cache
from monai_agglo.data.frame_window import FrameWindow

SIZE = 64


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(8, SIZE),
    columns=st.integers(8, SIZE),
    least=st.floats(0.3, 1.0),
    most=st.floats(1.0, 3.0),
)
@settings(max_examples=60, deadline=None)
def test_a_window_lies_in_the_frame_or_around_it(seed, rows, columns, least, most):
    window = FrameWindow.draw(np.random.default_rng(seed), (rows, columns), SIZE, (least, most))
    assert least - 1e-9 <= 1 / window.step <= most + 1e-9
    for start, side in ((window.row, rows), (window.column, columns)):
        inside = start >= -1e-9 and start + window.step * SIZE <= side + 1e-6
        around = start <= 1e-9 and start + window.step * SIZE >= side - 1e-6
        assert inside or around


@pytest.mark.parametrize("step", [0.6, 1.0, 1.4])
def test_pixels_show_the_place_that_the_affine_says(step):
    window = FrameWindow(step, 5.0, -3.0, SIZE)
    for axis in (0, 1):
        ramp = np.arange(SIZE, dtype=np.float32)
        square = np.broadcast_to(ramp[:, None] if axis == 0 else ramp[None], (SIZE, SIZE)).copy()
        shown = window.cut(square, -1000.0)
        places = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij"), -1).double()
        places = (places @ window.affine[:2, :2].T + window.affine[:2, 2]).numpy()
        middle = ((places > 4) & (places < SIZE - 5)).all(-1)  # the blur sees the edge elsewhere
        assert middle.sum() > 500
        np.testing.assert_allclose(shown[middle], places[middle][:, axis], atol=0.05)  # OpenCV counts in 1 / 32 pixel


def test_the_whole_square_is_left_as_it_is():
    square = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    window = FrameWindow.draw(np.random.default_rng(0), (SIZE, SIZE), SIZE, (1.0, 1.0))
    np.testing.assert_array_equal(window.cut(square, 0), square)
    assert window.shown((40, SIZE)) == (slice(0, 40), slice(0, SIZE))
    assert torch.equal(window.affine, torch.eye(3, dtype=torch.float64))


def test_pixels_that_show_the_frame():
    small = FrameWindow(2.0, -40.0, 0.0, SIZE)  # the square takes rows 20 to 51 of the window
    assert small.shown((SIZE, SIZE)) == (slice(20, 52), slice(0, 32))
    square = np.full((SIZE, SIZE), 9, np.uint8)
    rows, columns = small.shown((SIZE, SIZE))
    shown = small.cut(square, 128)
    assert (shown[rows, columns] == 9).all() and (shown[:19] == 128).all() and (shown[53:] == 128).all()
    beside = FrameWindow(0.5, 32.0, 0.0, SIZE).shown((16, SIZE))[0]
    assert len(range(SIZE)[beside]) == 0


def test_cells_that_are_seen():
    window = FrameWindow(0.5, 16.0, 32.0, SIZE)  # rows 16 to 47, columns 32 to 63 of the square
    cells = torch.tensor([[8, 0, 3.5], [0, 8, 3.5], [0, 0, 1]], dtype=torch.float64)  # 8 x 8 cells of 8 pixels
    seen = window.sees(torch.linalg.inv(window.affine) @ cells, (8, 8))
    wanted = torch.zeros(8, 8, dtype=torch.bool)
    wanted[2:6, 4:] = True
    assert torch.equal(seen, wanted)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    frames = make_frames(3, 40, 64) + make_frames(2, 72, 48)
    path = tmp_path_factory.mktemp("cache")
    build_feature_cache(frames, [Wide(random_weights=True)], path, progress=False)
    return frames, path


def test_a_student_that_sees_a_window_is_compared_at_the_same_place(cached):
    """The frame's own brightness, read at the teacher's cells through the window and through the whole square."""
    from monai_agglo.networks.alignment import to_teacher_grid

    frames, path = cached
    whole = StudentFrameDataset(frames, path, size=SIZE, progress=False)
    data = StudentFrameDataset(frames, path, size=SIZE, zoom=(0.6, 1.8), seed=1, progress=False)
    compared = 0
    for epoch in range(4):
        for number in range(len(data)):
            plain, sample = whole[number], data[epoch, number]
            assert not torch.equal(plain["image_affine"], sample["image_affine"])
            mask = sample["mask"]["wide"] >= 0.5
            assert not (mask & ~(plain["mask"]["wide"] >= 0.5)).any()
            there, here = (
                to_teacher_grid(d["image"][None], d["image_affine"], d["affine"]["wide"], tuple(mask.shape))[0, 0]
                for d in (plain, sample)
            )
            # at the rim of the window a cell is seen in part
            inner = mask.clone()
            inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
            inner[[0, -1]] = inner[:, [0, -1]] = False
            compared += int(inner.sum())
            assert not inner.any() or (there - here).abs()[inner].mean() < 0.05
    assert compared > 20


def test_windows_repeat_and_padding_stays_grey(cached):
    from monai_agglo.data import RandFluoroscopyd

    frames, path = cached
    look = RandFluoroscopyd(1.0, invert=0)
    data = StudentFrameDataset(frames, path, size=SIZE, augment=look, zoom=(0.5, 0.5), seed=3, progress=False)
    first, again, later = data[1, 0], data[1, 0], data[2, 0]
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["image_affine"], again["image_affine"])
    assert not torch.equal(first["image_affine"], later["image_affine"])
    grey = (first["image"][0] - 128 / 255).abs() < 1e-6
    assert 0.8 < grey.float().mean() < 0.95  # 20 x 32 of 64 x 64 show the frame


@pytest.mark.parametrize("zoom", [(1.5, 0.7), (0, 1), (1.0,), 1.5, (1.0, float("inf")), ("a", "b")])
def test_magnifications_that_are_none(cached, zoom):
    frames, path = cached
    with pytest.raises(ValueError, match="least and the largest magnification"):
        StudentFrameDataset(frames, path, size=SIZE, zoom=zoom, progress=False)
