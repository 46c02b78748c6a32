"""The student's frames: one square for every size, places that agree with the pixels, and refusals before training."""

import numpy as np
import pytest
import torch
from cache_teachers import Coarse, Wide, make_frames
from torch.utils.data import default_collate

from monai_agglo.data import StudentFrameDataset, fit_to_square
from monai_agglo.data.feature_cache import FeatureCacheError
from monai_agglo.data.feature_cache.build import build_feature_cache


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Frames of two sizes with the features of two teachers."""
    frames = make_frames(4, 40, 64) + make_frames(3, 72, 48)
    teachers = [Wide(random_weights=True), Coarse(random_weights=True)]
    path = tmp_path_factory.mktemp("cache")
    build_feature_cache(frames, teachers, path, frames_per_block=4, progress=False)
    return frames, path


def test_square_keeps_aspect_and_value():
    frame = np.linspace(0, 1, 30 * 60, dtype=np.float32).reshape(30, 60)
    square, fit = fit_to_square(frame, 64)
    assert square.shape == (64, 64) and fit.content == (32, 64)
    assert (square[32:] == 128).all()
    assert abs(square[:32].mean() / 255 - frame.mean()) < 0.01


def test_batches_of_different_sizes(cached):
    frames, path = cached
    data = StudentFrameDataset(frames, path, size=64, progress=False)
    assert len(data) == 7 and data.path.is_file()
    batch = default_collate([data[i] for i in range(7)])
    assert batch["image"].shape == (7, 1, 64, 64) and batch["image_affine"].shape == (7, 3, 3)
    assert batch["features"]["wide"]["codes"].shape[:2] == (7, 24) and batch["mask"]["coarse"].shape == (7, 4, 4)
    decoded = data.cache.decode("wide", **batch["features"]["wide"])
    torch.testing.assert_close(decoded[5], data.cache[data[5]["frame"], "wide"], atol=1e-4, rtol=1e-4)


def test_places_lead_to_the_same_pixels(cached):
    """The frame at ``image_affine @ pixel`` is what the student's pixel shows."""
    frames, path = cached
    smooth = [torch.nn.functional.avg_pool2d(f[None], 9, 1, 4, count_include_pad=False)[0] for f in frames]
    data = StudentFrameDataset(frames, path, size=64, progress=False)
    for index in (0, 6):
        sample = data[index]
        frame = frames[data.data[index][0]][0]
        square, fit = fit_to_square(smooth[data.data[index][0]][0].numpy(), 64)
        rows, columns = fit.content
        for pixel in ((3, 5), (rows - 4, columns - 5)):
            y, x, _ = (sample["image_affine"] @ torch.tensor([*pixel, 1.0])).tolist()
            assert 0 <= y <= frame.shape[0] - 1 and 0 <= x <= frame.shape[1] - 1
            assert abs(square[pixel] / 255 - smooth[data.data[index][0]][0, round(y), round(x)]) < 0.05


def test_augmentation_is_photometric_and_repeats(cached):
    from monai_agglo.data import RandFluoroscopyd

    frames, path = cached
    plain = StudentFrameDataset(frames, path, size=64, progress=False)
    data = StudentFrameDataset(frames, path, size=64, augment=RandFluoroscopyd(1.0, invert=0), seed=3, progress=False)
    first, again, later = data[1, 0]["image"], data[1, 0]["image"], data[2, 0]["image"]
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert first.min() >= 0 and first.max() <= 1
    rows = plain._fits[(40, 64)].content[0]
    assert (first[:, rows:] == plain[0]["image"][:, rows:]).all()


def test_second_data_set_reads_what_the_first_wrote(cached):
    frames, path = cached
    one = StudentFrameDataset(frames, path, size=96, progress=False)
    stamp = one.path.stat().st_mtime_ns
    two = StudentFrameDataset(frames, path, size=96, progress=False)
    assert two.path == one.path and two.path.stat().st_mtime_ns == stamp
    assert StudentFrameDataset(frames[:3], path, size=96, progress=False).path != one.path
    assert one.data_hash == two.data_hash


def test_refusals(cached, tmp_path):
    frames, path = cached
    with pytest.raises(FeatureCacheError, match="there is no feature cache"):
        StudentFrameDataset(frames, tmp_path / "none")
    with pytest.raises(ValueError, match="multiple of 32"):
        StudentFrameDataset(frames, path, size=100)
    build_feature_cache(frames[:4], [Wide(random_weights=True)], tmp_path / "c", progress=False)
    build_feature_cache(frames[2:5], [Coarse(random_weights=True)], tmp_path / "c", progress=False)
    with pytest.raises(FeatureCacheError, match="different images: wide has 4 of these frames, coarse 3"):
        StudentFrameDataset(frames, tmp_path / "c", progress=False)


def test_features_that_are_no_numbers(cached, monkeypatch):
    from monai_agglo.data.feature_cache.cache import FeatureCache

    frames, path = cached
    whole = FeatureCache.statistics

    def broken(self, teacher):
        found = whole(self, teacher)
        if teacher == "coarse":
            found.mean[0] = float("nan")
        return found

    monkeypatch.setattr(FeatureCache, "statistics", broken)
    with pytest.raises(FeatureCacheError, match="features of coarse that are NaN"):
        StudentFrameDataset(frames, path, progress=False)
