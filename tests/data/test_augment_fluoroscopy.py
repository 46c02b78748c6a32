"""Appearance changes, anatomy does not: values stay in range and masks end only where the field ends."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_agglo.data import RandFluoroscopyd


def sample(shape=(2, 48, 56), seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, shape).astype(np.uint8),
        "label": rng.integers(0, 4096, shape).astype(np.uint16),
        "labelled": np.ones((12, shape[0]), bool),
    }


def apply(data, seed=0, strength=1.0, **options):
    return RandFluoroscopyd(strength, **options).set_random_state(seed)(data)


@pytest.mark.parametrize("strength", [0, -1])
def test_strength_zero_is_the_identity(strength):
    data = sample()
    out = apply(data, strength=strength, invert=1.0)
    np.testing.assert_array_equal(out["image"], data["image"].astype(np.float32) / 255)
    assert out["image"].dtype == np.float32 and out["label"] is data["label"]


@given(st.integers(0, 2**31), st.floats(0.05, 2.5))
@settings(max_examples=60, deadline=None)
def test_values_stay_in_range_and_masks_only_lose(seed, strength):
    data = sample(seed=seed % 5)
    out = apply(data, seed, strength)
    assert out["image"].dtype == np.float32 and out["image"].shape == data["image"].shape
    assert np.isfinite(out["image"]).all() and out["image"].min() >= 0 and out["image"].max() <= 1
    kept = out["label"] == data["label"]
    assert ((out["label"] == 0) | kept).all()
    outside = (out["label"] == 0) & (data["label"] != 0)
    assert (outside.any(0) == (outside | (data["label"] == 0)).all(0))[outside.any(0)].all()  # the same in all frames


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 40, 17)])
def test_constant_and_small_frames(value, shape):
    for seed in range(25):
        out = apply({"image": np.full(shape, value, np.uint8)}, seed, 1.5)["image"]
        assert out.shape == shape and np.isfinite(out).all() and 0 <= out.min() <= out.max() <= 1


def test_large_frames():
    for seed in range(2):
        out = apply({"image": np.full((1, 2000, 1200), 90, np.uint8)}, seed, 1.0)["image"]
        assert out.shape == (1, 2000, 1200) and np.isfinite(out).all()


def test_inversion_by_hand():
    data = sample()
    options = {"invert": 1.0, "strength": 1.0}
    transform = RandFluoroscopyd(**options)
    transform._chance = lambda probability: probability == 1.0  # nothing but the inversion
    out = transform(data)
    np.testing.assert_allclose(out["image"], 1 - data["image"] / 255, atol=1e-6)
    np.testing.assert_array_equal(out["label"], data["label"])


def test_the_field_cuts_image_and_masks_alike():
    data = {"image": np.full((1, 64, 64), 128, np.uint8), "label": np.full((1, 64, 64), 5, np.uint16)}
    cut = 0
    for seed in range(30):
        transform = RandFluoroscopyd(1.0, invert=0.0).set_random_state(seed)
        transform._chance = lambda probability: probability == 0.35  # bias and field
        transform._bias_field = lambda height, width: None
        out = transform(data)
        inside = out["label"][0] == 5
        level = out["image"][0]
        # Where a mask stays, the picture is more field than surroundings, which are at most 0.12 or at least 0.7.
        assert (np.abs(level[inside] - 128 / 255) < 0.26).all()
        cut += not inside.all()
    assert cut > 15


def test_noise_is_new_in_every_frame_and_the_look_is_not():
    data = {"image": np.full((2, 64, 64), 128, np.uint8)}
    for seed in range(40):
        out = apply(data, seed)["image"]
        assert abs(out[0].mean() - out[1].mean()) < 0.02
    transform = RandFluoroscopyd(1.0).set_random_state(3)
    transform._chance = lambda probability: probability == 0.6  # noise only
    out = transform(data)["image"]
    assert out[0].std() > 0.003 and np.corrcoef(out[0].ravel(), out[1].ravel())[0, 1] < 0.1


def test_seed_decides_and_input_stays():
    data, twin = sample(), sample()
    for seed in range(12):
        one, two = apply(data, seed), apply(data, seed)
        np.testing.assert_array_equal(one["image"], two["image"])
        np.testing.assert_array_equal(one["label"], two["label"])
    assert any((apply(data, seed)["image"] != apply(data, 99)["image"]).any() for seed in range(3))
    assert all((data[key] == twin[key]).all() for key in data)


def test_probability_follows_the_strength():
    rates = []
    for strength in (0.25, 1.0, 3.0):
        transform = RandFluoroscopyd(strength).set_random_state(0)
        rates.append(np.mean([transform._chance(0.4) for _ in range(4000)]))
    assert rates == pytest.approx([0.1, 0.4, 0.4], abs=0.03)


def test_noise_is_that_of_the_seed_in_every_thread():
    """OpenCV's generator belongs to the thread: what another one draws meanwhile changes nothing."""
    data = {"image": np.full((3, 64, 64), 128, np.uint8)}

    def noisy(seed):
        transform = RandFluoroscopyd(1.0, invert=0.0).set_random_state(seed)
        transform._chance = lambda probability: probability == 0.6  # noise alone
        return transform(data)["image"]

    expected = [noisy(seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(noisy, range(40)))
    assert all((a == b).all() for a, b in zip(found, expected))
    frames = np.stack(expected)
    assert abs(frames.mean() - 128 / 255) < 0.01 and (frames[:, 0] != frames[:, 1]).mean() > 0.9
