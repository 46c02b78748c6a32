"""Image and masks move together, and a plain fit lands where it should to a fraction of a pixel."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_agglo.data import RandCineGeometryd
from monai_agglo.data.augment_geometry import _cubic


def scene(rows, cols, row, col, radius, frames=1):
    """Grey frames with one bright disc that is also structure 3."""
    y, x = np.mgrid[:rows, :cols]
    inside = (y - row) ** 2 + (x - col) ** 2 < radius**2
    image = np.where(inside, 255, 0).astype(np.uint8)
    return {"image": np.stack([image] * frames), "label": np.stack([inside.astype(np.uint16) << 3] * frames)}


def centroid(weights):
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(y * weights).sum(), (x * weights).sum()]) / weights.sum()


def apply(data, seed=0, size=96, **options):
    transform = RandCineGeometryd(size, **options).set_random_state(seed)
    return transform(data)


@given(
    st.integers(0, 2**31),
    st.sampled_from([(96, 96), (480, 640), (61, 83), (300, 200)]),
    st.booleans(),
    st.floats(0.8, 1.4),
)
@settings(max_examples=40, deadline=None)
def test_disc_and_mask_have_one_centre(seed, shape, bend, zoom):
    rows, cols = shape
    data = scene(rows, cols, rows * 0.5, cols * 0.5, max(shape) * 0.12)
    out = apply(data, seed, bend=float(bend), scale=(zoom * 0.8, zoom))
    assert out["image"].shape == out["label"].shape == (1, 96, 96)
    assert out["image"].dtype == np.uint8 and out["label"].dtype == np.uint16
    assert set(np.unique(out["label"])) == {0, 8}  # only the bit of the structure
    mask = out["label"][0] >> 3
    bright = np.where(mask | (out["image"][0] > 128), out["image"][0].astype(float), 0)
    ring = np.zeros_like(mask, bool)  # the border may be bright as well: stay near the disc
    ys, xs = np.nonzero(mask)
    ring[max(0, ys.min() - 2) : ys.max() + 3, max(0, xs.min() - 2) : xs.max() + 3] = True
    np.testing.assert_allclose(centroid(bright * ring), centroid(mask.astype(float)), atol=0.35)


def test_shrunk_images_and_masks_agree_on_average():
    """A systematic offset of half a source pixel would show here."""
    offsets = []
    for seed in range(40):
        data = scene(400, 400, 200, 200, 70)
        out = apply(data, seed, bend=0.0, scale=(0.7, 0.9), shift=0.0)
        image = np.where(np.hypot(*(np.mgrid[:96, :96] - 48)) < 30, out["image"][0], 0).astype(float)
        offsets.append(centroid(image) - centroid((out["label"][0] > 0).astype(float)))
    assert np.abs(np.mean(offsets, 0)).max() < 0.05


@pytest.mark.parametrize("side", [96, 48, 192, 384])
def test_without_chance_the_cine_fills_the_canvas_exactly(side):
    k = side / 96
    data = scene(side, side, 30 * k, 60 * k, 20 * k)
    out = apply(data, prob=0.0, flip=1.0, bend=1.0)
    expected = (centroid(data["image"][0].astype(float)) + 0.5) / k - 0.5
    np.testing.assert_allclose(centroid(out["image"][0].astype(float)), expected, atol=0.03)
    # The nearest pixel is up to half a source pixel away.
    np.testing.assert_allclose(centroid((out["label"][0] > 0).astype(float)), expected, atol=0.03 + 0.5 / k)
    assert out["image"][0].astype(float).sum() / 255 == pytest.approx(np.pi * 400, rel=0.03)


def test_without_chance_and_at_its_own_size_nothing_changes():
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)
    label = np.random.default_rng(1).integers(0, 4096, (2, 64, 64)).astype(np.uint16)
    out = apply({"image": image, "label": label}, size=64, prob=0.0)
    np.testing.assert_array_equal(out["image"], image)
    np.testing.assert_array_equal(out["label"], label)


def test_mirror_alone():
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64)).astype(np.uint8)
    off = {"rotate": 0, "scale": (1, 1), "shift": 0, "stretch": 0, "shear": 0, "bend": 0, "prob": 1}
    np.testing.assert_array_equal(apply({"image": image}, size=64, flip=1, **off)["image"], image[..., ::-1])
    np.testing.assert_array_equal(apply({"image": image}, size=64, flip=0, **off)["image"], image)


def test_frames_of_a_sample_move_alike():
    out = apply(scene(80, 80, 40, 40, 15, frames=3), 5, bend=1.0)
    assert (out["image"] == out["image"][:1]).all() and (out["label"] == out["label"][:1]).all()


def test_the_sample_says_how_large():
    out = apply({**scene(80, 80, 40, 40, 15), "size": 48}, size=96)
    assert out["image"].shape == (1, 48, 48)


def test_seed_decides_and_input_stays():
    data = scene(80, 70, 40, 40, 15)
    before = {key: value.copy() for key, value in data.items()}
    assert (apply(data, 1)["image"] == apply(data, 1)["image"]).all()
    assert (apply(data, 1)["image"] != apply(data, 2)["image"]).any()
    assert all((data[key] == before[key]).all() for key in data)


@pytest.mark.parametrize(("shape", "size"), [((16, 16), 32), ((2000, 1500), 64), ((16, 400), 64)])
def test_extreme_sizes_and_no_masks(shape, size):
    for seed in range(4):
        out = apply({"image": np.full((1, *shape), 77, np.uint8)}, seed, size, bend=1.0)
        assert out["image"].shape == (1, size, size) and "label" not in out
        assert (out["image"] == 77).any()


@pytest.mark.parametrize(("cells", "size"), [(5, 384), (5, 64), (3, 17)])
def test_a_bend_is_what_opencv_enlarges(cells, size):
    plane = np.random.default_rng(0).normal(size=(cells, cells)).astype(np.float32)
    between = _cubic(cells, size)
    np.testing.assert_allclose(
        between @ plane @ between.T, cv2.resize(plane, (size, size), interpolation=cv2.INTER_CUBIC), atol=1e-5
    )
