import numpy as np
import pytest

from monai_agglo.distill.probes.bootstrap import TaskScores, difference, mean_dice


def scores(task, dice, sources=None):
    dice = np.asarray(dice, float)
    return TaskScores(task, dice, tuple(sources or map(str, range(dice.shape[2]))))


def test_mean_is_over_tasks_then_settings_and_seeds():
    one = scores("a", [[[0.2, 0.4], [0.6, 0.8]], [[0.2, 0.4], [0.6, 0.8]]])
    two = scores("b", [[[1.0, np.nan, 1.0]], [[0.5, 0.5, np.nan]]])
    assert mean_dice([one, two]).mean == pytest.approx((0.5 + 0.75) / 2)


def test_interval_of_what_never_varies_is_a_point():
    found = mean_dice([scores("a", np.full((3, 2, 5), 0.7))])
    assert (found.low, found.high) == pytest.approx((0.7, 0.7))


def test_interval_is_that_of_the_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 0.1, (1, 1, 400))
    found = mean_dice([scores("a", values)])
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)


def test_images_of_one_patient_are_drawn_together():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(0.5, 0.1, 40), 10)[None, None]
    alone = mean_dice([scores("a", values)])
    grouped = mean_dice([scores("a", values, [f"p{n // 10}" for n in range(400)])])
    assert grouped.high - grouped.low > 2.5 * (alone.high - alone.low)


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    theirs = rng.uniform(0, 1, (3, 2, 30))
    gain = difference([scores("a", theirs + 0.02)], [scores("a", theirs)])
    assert gain.mean == pytest.approx(0.02) and gain.positive and gain.high - gain.low < 1e-6


def test_seeds_count():
    values = np.stack([np.full((1, 50), 0.4), np.full((1, 50), 0.6)])
    found = mean_dice([scores("a", values)])
    assert (found.low, found.high) == pytest.approx((0.4, 0.6))


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        difference([scores("a", np.ones((1, 1, 3)))], [scores("a", np.ones((2, 1, 3)))])
    with pytest.raises(ValueError, match="same seeds"):
        mean_dice([scores("a", np.ones((1, 1, 3))), scores("b", np.ones((2, 1, 3)))])
