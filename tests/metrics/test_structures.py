"""Scores against MONAI's metrics where a structure is present, NaN where it is absent, and means by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import DiceMetric, HausdorffDistanceMetric
from scipy import stats

from monai_agglo.metrics import DICE_IS, StructureScores, dice_per_frame, hd95_px, mean_interval, patient_means


def blobs(seed, shape=(40, 50)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 4)):
        cy, cx, a, b = *(rng.uniform(0, 1, 2) * shape), *rng.uniform(0.6, 12, 2)
        mask |= ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1
    return mask


def as_batch(mask):
    return torch.from_numpy(mask)[None, None].float()


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_dice_and_hd95_are_monais(one, other):
    predicted, true = blobs(one), blobs(other)
    if not predicted.any() or not true.any():
        return
    dice = DiceMetric(include_background=True)(as_batch(predicted), as_batch(true)).item()
    ours = dice_per_frame(predicted[None, ..., None], true[None, ..., None].astype(np.uint8))
    assert ours.shape == (1, 1) and ours[0, 0] == pytest.approx(dice, abs=1e-6)
    metric = HausdorffDistanceMetric(include_background=True, percentile=95)
    assert hd95_px(predicted, true) == pytest.approx(metric(as_batch(predicted), as_batch(true)).item(), abs=1e-3)


def test_dice_by_hand():
    truth = np.zeros((3, 2, 2, 2), np.uint8)
    truth[0, 0, :, 0] = 1  # two pixels; one is found, one more is predicted: 2 * 1 / (2 + 2)
    truth[1, 0, 0, 0] = 1  # missed: 0
    truth[2, :, :, 1] = 255
    predicted = np.zeros(truth.shape, bool)
    predicted[0, :, 0, 0] = True
    predicted[1, :, :, 1] = True  # predicted where it is absent: no Dice
    np.testing.assert_array_equal(dice_per_frame(predicted, truth), [[0.5, np.nan], [0, np.nan], [np.nan, np.nan]])


def test_hd95_by_hand():
    one, other = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    one[3, 4] = other[6, 8] = True
    assert hd95_px(one, other) == 5 and hd95_px(one, one) == 0
    other[3, 4] = True  # 0 one way; 0 and 5 the other: the 95th percentile is 4.75
    assert hd95_px(one, other) == hd95_px(other, one) == pytest.approx(4.75)
    empty = np.zeros((20, 20), bool)
    assert all(np.isnan(hd95_px(*pair)) for pair in ((one, empty), (empty, one), (empty, empty)))


def test_hd95_at_the_border_and_of_everything():
    everything = np.ones((8, 8), bool)
    inner = np.zeros((8, 8), bool)
    inner[2:6, 2:6] = True
    metric = HausdorffDistanceMetric(include_background=True, percentile=95)
    assert hd95_px(everything, inner) == pytest.approx(metric(as_batch(everything), as_batch(inner)).item(), abs=1e-4)


def test_patients_count_once_however_many_frames_they_have():
    nan = np.nan
    values = [np.array([[1.0, 0.5, nan], [nan, nan, nan]]), np.array([[0.0], [0.4]]), np.array([[0.2], [nan]])]
    # a: (1 + 0.5 + 0) / 3 = 0.5 and 0.4; b: 0.2 and nothing
    np.testing.assert_allclose(patient_means(values, ["a", "a", "b"]), [[0.5, 0.4], [0.2, nan]])
    assert np.isnan(patient_means([np.full((1, 3), nan)], ["a"])).all()


def test_interval_of_the_mean_is_that_of_scipy():
    means = np.random.default_rng(0).beta(8, 2, (40, 3))
    means[:30, 2] = np.nan  # found in ten patients only, of whom a draw may have few
    low, high = mean_interval(means)

    def mean(drawn, axis):
        return np.nanmean(np.nanmean(means[drawn], axis=-2), axis=-1)

    wanted = stats.bootstrap((np.arange(40),), mean, n_resamples=5000, method="percentile", random_state=1)
    np.testing.assert_allclose((low, high), wanted.confidence_interval, atol=0.003)
    assert low < np.nanmean(means, 0).mean() < high and high - low > 0.04
    assert mean_interval(means) == (low, high) and mean_interval(means[:1]) is None
    assert mean_interval(np.full((5, 2), np.nan)) is None
    np.testing.assert_allclose(mean_interval(np.full((4, 2), 0.5)), (0.5, 0.5))


def scores(surface=True):
    """Two patients, two structures, four frames of 4 x 5 pixels each; numbers in the tests are worked out from here."""
    result = StructureScores(["x", "y"], surface)
    truth = np.zeros((2, 4, 5, 4), np.uint8)
    predicted = np.zeros((2, 4, 5, 4), bool)
    truth[0, 0, :4, :2] = 1  # x in frames 0 and 1
    predicted[0, 0, :4, 0] = True  # found: 1
    predicted[0, :2, :2, 1] = True  # 2 * 2 / (4 + 4) = 0.5
    predicted[0, 0, 0, 2] = True  # 1 of 20 pixels where x is absent; frame 3: none
    truth[1] = 255  # y is not labelled
    predicted[1] = True
    result.add("a", predicted, truth)
    truth, predicted = np.zeros((2, 4, 5, 1), np.uint8), np.zeros((2, 4, 5, 1), bool)
    truth[:, 0, 0] = 1
    predicted[1, 0, 0] = True  # x is missed, y is found
    result.add("b", predicted, truth)
    return result


def test_report_by_hand():
    report = scores().report()
    x, y = report["per_structure"]["x"], report["per_structure"]["y"]
    # x: a has (1 + 0.5) / 2 = 0.75, b has 0
    assert x["dice"] == pytest.approx(0.375) and y["dice"] == 1
    assert report["mean_dice"] == pytest.approx((0.375 + 1) / 2)
    # drawn anew: a and a (0.75, y unknown), b and b (0 and 1), or both as they are (0.375 and 1)
    assert report["mean_dice_ci95"] == pytest.approx((0.5, 0.75))
    assert (x["frames"], x["missed_frames"], y["frames"], y["missed_frames"]) == (3, 1, 1, 0)
    # a: frames 2 and 3 without x, 5 % and 0 %; b has none
    assert x["false_positive_area_pct"] == pytest.approx(2.5) and y["false_positive_area_pct"] is None
    assert report["false_positive_area_pct"] == pytest.approx(2.5)
    # Frame 1 of a, predicted block against the row of four: distances of the row's pixels to the block 0 0 1 2, of the
    # block's to the row 0 0 1 1: the 95th percentiles are 1.85 and 1. Frame 0: 0. The missed one of b has none.
    assert x["hd95_px"] == pytest.approx((0 + 1.85) / 2) and y["hd95_px"] == 0
    assert report["patients"] == 2 and report["dice_is"] == DICE_IS


def test_hd95_only_on_request():
    report = scores(surface=False).report()
    assert report["per_structure"]["x"]["hd95_px"] is None
    assert report["per_structure"]["x"]["dice"] == pytest.approx(0.375)


def test_absent_everywhere_is_none_and_never_0_or_1():
    result = StructureScores(["x", "y"])
    truth = np.zeros((2, 4, 4, 2), np.uint8)
    truth[0, 0, 0] = 1
    result.add("a", truth == 1, truth)
    report = result.report()
    assert report["per_structure"]["y"]["dice"] is None and report["mean_dice"] == 1
    assert report["per_structure"]["y"]["false_positive_area_pct"] == 0


def test_nothing_scored():
    report = StructureScores(["x"]).report()
    assert report["mean_dice"] is None and report["mean_dice_ci95"] is None
    assert report["patients"] == 0 and report["per_structure"]["x"]["frames"] == 0


@pytest.mark.parametrize(("one", "other"), [((2, 4, 4, 1), (2, 4, 5, 1)), ((3, 4, 4, 1), (3, 4, 4, 1))])
def test_shapes_that_do_not_compare(one, other):
    with pytest.raises(ValueError, match="do not compare"):
        StructureScores(["x", "y"]).add("a", np.zeros(one), np.zeros(other))
