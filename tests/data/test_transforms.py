"""Sizes, intensities and the packed form: numbers that were worked out by hand, and properties that always hold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd
from scipy.ndimage import binary_erosion

from monai_agglo.cine.intensity import exposed_range
from monai_agglo.data import FitFramesd, PackCined, ScaleCineIntensityd, UnpackCined

SIZES = st.integers(16, 90)


def disc(rows, cols, radius=0.3):
    y, x = np.mgrid[:rows, :cols]
    return ((y - 0.45 * rows) / (radius * rows)) ** 2 + ((x - 0.55 * cols) / (radius * cols)) ** 2 < 1


class TestFitFrames:
    @pytest.mark.parametrize(
        ("shape", "size", "expected"),
        [((100, 50), 32, (32, 16)), ((30, 60), 120, (60, 120)), ((64, 20), 32, (32, 16)), ((10, 40), 80, (20, 80))],
    )
    def test_longer_side_is_the_size_and_no_side_is_below_16(self, shape, size, expected):
        data = FitFramesd("image", size)({"image": torch.zeros(1, *shape, 3)})
        assert data["image"].shape == (1, *expected, 3)

    def test_halving_averages_blocks(self):
        image = torch.arange(32 * 32, dtype=torch.float32).reshape(1, 32, 32, 1)
        small = FitFramesd("image", 16)({"image": image})["image"]
        # mean of 0, 1, 32, 33, and one block further right adds 2
        assert small[0, 0, 0, 0] == 16.5 and small[0, 0, 1, 0] == 18.5 and small[0, 1, 0, 0] == 80.5

    def test_every_frame_is_resized_on_its_own(self):
        image = torch.zeros(1, 32, 32, 3)
        image[..., 1] = 5
        small = FitFramesd("image", 16)({"image": image})["image"]
        assert small[..., 1].unique().tolist() == [5] and small[..., ::2].unique().tolist() == [0]

    def test_masks_stay_binary_and_unlabelled_planes_stay_unlabelled(self):
        masks = torch.from_numpy(np.stack([disc(50, 70), ~disc(50, 70)])[..., None].repeat(2, -1).astype(np.uint8))
        masks[1, :, :, 1] = 255
        out = FitFramesd("label", 33)({"label": masks})["label"]
        assert out.dtype == torch.uint8
        assert out[0].unique().tolist() == [0, 1] and out[1, ..., 1].unique().tolist() == [255]
        assert float(out[0].float().mean()) == pytest.approx(disc(50, 70).mean(), rel=0.05)

    @given(SIZES, SIZES, st.integers(16, 90))
    @settings(max_examples=25, deadline=None)
    def test_inverse_restores_shape_and_mask_to_a_pixel(self, rows, cols, size):
        mask = torch.from_numpy(disc(rows, cols)[None, ..., None].astype(np.uint8))
        fit = FitFramesd(["label"], size)
        back = fit.inverse(fit({"label": MetaTensor(mask)}))["label"]
        assert back.shape == mask.shape
        # A pixel of the coarser of the two grids.
        pixel = int(np.ceil(max(1, rows / size, cols / size, 16 / size * max(rows, cols) / min(rows, cols))))
        wrong = (back[0, ..., 0].numpy() != mask[0, ..., 0].numpy()).astype(bool)
        assert not binary_erosion(wrong, np.ones((2 * pixel + 1,) * 2)).any()
        assert abs(float(back.float().mean() - mask.float().mean())) < 0.05

    def test_invertd_brings_a_batched_prediction_back_with_its_geometry(self):
        affine = torch.tensor([[0, -0.4, 0, 10], [-0.3, 0, 0, 20], [0, 0, 1, 0], [0, 0, 0, 1.0]], dtype=torch.float64)
        chain = Compose([FitFramesd("image", 32), ScaleCineIntensityd("image")])
        source = MetaTensor(torch.rand(1, 64, 48, 2), affine=affine)
        batch = list_data_collate([chain({"image": source})])
        batch["pred"] = batch["image"].clone()
        invert = Invertd(keys="pred", transform=chain, orig_keys="image", nearest_interp=False)
        result = invert(decollate_batch(batch)[0])["pred"]
        assert result.shape == source.shape
        torch.testing.assert_close(result.affine, affine)

    def test_affine_of_the_small_grid_points_at_the_same_places(self):
        small = FitFramesd("image", 32)({"image": MetaTensor(torch.zeros(1, 64, 64, 2), affine=torch.eye(4))})["image"]
        # The centre of small pixel 0 lies between the pixels 0 and 1 of the source.
        np.testing.assert_allclose(small.affine.numpy()[:, 3], [0.5, 0.5, 0, 1])
        np.testing.assert_allclose(np.diag(small.affine.numpy()), [2, 2, 1, 1])

    @pytest.mark.parametrize("size", [None, 32, 16])
    def test_input_is_not_touched(self, size):
        source = MetaTensor(torch.ones(1, 32, 32, 1), affine=torch.eye(4))
        result = FitFramesd("image", size)({"image": source})["image"]
        assert len(result.applied_operations) == 1 and source.applied_operations == []
        torch.testing.assert_close(source.affine, torch.eye(4, dtype=torch.float64))

    def test_too_small_a_size_is_refused(self):
        with pytest.raises(ValueError, match="at least 16"):
            FitFramesd("image", 15)


class TestScaleIntensity:
    def scaled(self, array, **options):
        image = torch.from_numpy(np.asarray(array))[None]
        out = ScaleCineIntensityd("image", **options)({"image": image})["image"]
        assert out.dtype == torch.float32 and out.shape == image.shape
        assert torch.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
        return np.asarray(out)[0]

    @pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12), ("uint16", 16), ("float32", 12)])
    def test_a_ramp_fills_the_range_at_any_bit_depth(self, dtype, bits):
        top = 2**bits - 1
        ramp = np.linspace(0, top, 64 * 64).astype(dtype).reshape(64, 64, 1)
        out = self.scaled(ramp)
        # by hand: (v - 0.5 % of top) / (99 % of top)
        np.testing.assert_allclose(out, np.clip((ramp / top - 0.005) / 0.99, 0, 1), atol=0.006)

    def test_percentiles_by_hand(self):
        values = np.arange(201, dtype=np.float32)
        assert exposed_range(values, 10, 90) == (20, 180)

    @pytest.mark.parametrize("value", [0, 7, 255])
    def test_constant_image_is_zero(self, value):
        assert not self.scaled(np.full((16, 16, 2), value, np.uint8)).any()

    @pytest.mark.parametrize("hot", [65535, 4095])
    def test_a_few_hot_pixels_do_not_matter(self, hot):
        image = np.random.default_rng(0).integers(100, 1000, (200, 200, 2)).astype(np.uint16)
        image[:4, :20] = 100  # a real dark corner
        clean = exposed_range(image)
        image[100, 100:103, 0] = hot
        assert exposed_range(image) == pytest.approx(clean, abs=5)
        assert clean == pytest.approx((100, 995), abs=10)

    def test_dead_pixels_do_not_matter(self):
        image = np.random.default_rng(0).integers(30_000, 31_000, (200, 200, 1)).astype(np.uint16)
        clean = exposed_range(image)
        image[50, 50:53] = 0
        assert exposed_range(image) == pytest.approx(clean, abs=10)

    @pytest.mark.parametrize("outside", [0, 4095])
    def test_a_collimated_field_is_scaled_like_the_field_alone(self, outside):
        inside = np.random.default_rng(1).normal(2000, 200, (128, 128, 2)).clip(0, 4095).astype(np.uint16)
        cine = np.full((200, 220, 2), outside, np.uint16)
        cine[30:158, 40:168] = inside
        assert exposed_range(cine) == pytest.approx(exposed_range(inside), abs=1)
        out = self.scaled(cine)
        assert out[0, 0, 0] == (outside > 0) and 0.45 < np.median(out[30:158, 40:168]) < 0.55

    def test_one_scale_for_all_frames(self):
        cine = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32, 1) * np.array([1, 0.5], np.float32)
        out = self.scaled(cine)
        assert np.median(out[..., 1]) < 0.6 * np.median(out[..., 0])

    def test_not_a_number_and_infinity_become_values_of_the_range(self):
        cine = np.linspace(0, 100, 32 * 32, dtype=np.float32).reshape(32, 32, 1)
        cine[0, 0], cine[0, 1], cine[0, 2] = np.nan, np.inf, -np.inf
        assert self.scaled(cine)[0, :3, 0].tolist() == [0, 1, 0]

    def test_nothing_finite(self):
        assert not self.scaled(np.full((16, 16, 1), np.nan, np.float32)).any()

    def test_large_frames_are_sampled(self):
        rows, cols, frames = ScaleCineIntensityd().sampled((1, 2000, 2000, 300))
        count = len(range(2000)[rows]) * len(range(2000)[cols]) * len(range(300)[frames])
        assert 5e5 < count < 2e6

    @given(st.integers(0, 2**32 - 1), st.floats(0.1, 5), st.floats(-500, 500))
    @settings(max_examples=20, deadline=None)
    def test_gain_and_offset_do_not_matter(self, seed, gain, offset):
        image = np.random.default_rng(seed).normal(1000, 100, (24, 24, 1)).astype(np.float32)
        np.testing.assert_allclose(self.scaled(image), self.scaled(image * gain + offset), atol=2e-3)


class TestPack:
    def test_numbers(self):
        image = torch.zeros(1, 2, 3, 2)
        image[0, 0, 1, 1] = 1
        image[0, 1, 2, 0] = 0.5
        masks = torch.zeros(12, 2, 3, 2, dtype=torch.uint8)
        masks[0, 0, 1, 1] = masks[11, 0, 1, 1] = 1
        masks[3, :, :, 0] = 255
        packed = PackCined()({"image": image, "label": masks})
        assert packed["image"].shape == (2, 2, 3) and packed["image"].dtype == np.uint8
        assert packed["image"][1, 0, 1] == 255 and packed["image"][0, 1, 2] == 128
        assert packed["label"].dtype == np.uint16 and packed["label"][1, 0, 1] == 1 + 2048
        assert packed["label"].sum() == 2049  # 255 is no structure
        assert np.argwhere(~packed["labelled"]).tolist() == [[3, 0]]

    @given(st.integers(1, 16), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
    @settings(max_examples=30, deadline=None)
    def test_round_trip(self, structures, rows, cols, frames, seed):
        rng = np.random.default_rng(seed)
        masks = rng.integers(0, 2, (structures, rows, cols, frames)).astype(np.uint8)
        masks[~np.broadcast_to(rng.random((structures, 1, 1, frames)) < 0.7, masks.shape)] = 255
        levels = rng.integers(0, 256, (1, rows, cols, frames)).astype(np.float32)
        data = {"image": torch.from_numpy(levels / 255), "label": torch.from_numpy(masks)}
        out = UnpackCined()(PackCined()(data))
        assert "labelled" not in out
        np.testing.assert_array_equal(out["label"].numpy(), masks)
        np.testing.assert_allclose(out["image"].numpy(), levels / 255, atol=1e-6)

    def test_without_masks(self):
        out = UnpackCined()(PackCined()({"image": torch.full((1, 2, 2, 1), 0.2)}))
        assert set(out) == {"image"} and out["image"].shape == (1, 2, 2, 1)
        np.testing.assert_allclose(out["image"], 51 / 255)

    def test_seventeen_structures_do_not_fit(self):
        with pytest.raises(ValueError, match="17 structures"):
            PackCined()({"image": torch.zeros(1, 2, 2, 1), "label": torch.zeros(17, 2, 2, 1)})
