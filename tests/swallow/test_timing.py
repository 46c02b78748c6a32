import numpy as np
import pytest

from monai_agglo.swallow.clock import Clock
from monai_agglo.swallow.timing import first_beyond, passages, rise_from, settled_from


def test_passages_none_one_several():
    assert passages(np.zeros(20)) == []
    assert passages(np.full(20, 0.01)) == []  # a film
    one = np.zeros(20)
    one[5:9] = [0.05, 0.2, 0.2, 0.1]
    assert passages(one) == [(6, 9)]
    # a large and a small bolus, and the second in two parts a frame apart
    more = np.concatenate([one, [0.06, 0.06, 0, 0.06, 0.06], np.zeros(5)])
    assert passages(more, 1 / 30) == [(6, 9), (20, 25)]
    assert passages(more, 1 / 7.5) == [(6, 9), (20, 22), (23, 25)]  # at this rate a frame is too long to bridge


def test_film_behind_a_bolus_is_trimmed():
    width = np.array([0, 0.3, 0.4, 0.3, 0.06, 0.06, 0.06])
    assert passages(width) == [(1, 4)]


def test_rise_walks_back_from_the_peak():
    curve = np.array([0, 0.2, 0, 0, 0, 0.1, 1, 3, 5.0])
    assert rise_from(curve, 8, 0.1) == 6
    assert rise_from(curve, 8, 0.01) == 5
    assert rise_from(curve[::-1], 8, 0.1) is None  # falls
    assert rise_from(np.full(5, np.nan), 4, 0.1) is None


def test_settled_where_all_stay():
    first = np.array([0, 5, 9, 10, 10, 10, 10.0])
    later = np.array([9, 9, 9, 9, 3, 0, 0, 0.0])
    assert settled_from([first], 0, 7, 3, 0.05) == 3
    assert settled_from([first[:7], later[1:]], 0, 7, 3, 0.05) == 4
    assert settled_from([np.arange(7.0)], 0, 7, 3, 0.05) is None  # still moving


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_settled_where_the_motion_ends_not_where_it_is_lost_in_noise(noise):
    time = np.linspace(-1, 2, 46)
    curve = np.where(time < 1, 1 - (3 - 2 * np.clip(time, 0, 1)) * np.clip(time, 0, 1) ** 2, 0.0)  # rest in frame 30
    curve += np.random.default_rng(3).normal(0, 1, 46) * noise
    assert abs(settled_from([curve], 15, 46, 4, 0.015) - 30) <= 1


def test_first_beyond():
    flags = np.array([True, False, True])
    assert first_beyond(flags, 0, 3) == 0 and first_beyond(flags, 1, 3) == 2 and first_beyond(flags, 1, 2) is None


def test_clock_counts_pulses_and_refuses_nonsense():
    clock = Clock.of(4, [0, 33, 66, 99], repeated=[1, 3])
    assert clock.pulse.tolist() == [0, 0, 2, 2] and clock.frame_s == pytest.approx(0.066)
    assert clock.between(0, 3) == pytest.approx(0.099) and clock.plus_minus(3) == pytest.approx(0.066)
    uneven = Clock.of(3, [0, 30, 130])
    assert uneven.plus_minus(1, 2) == pytest.approx(0.1) and uneven.plus_minus(0) == uneven.frame_s
    assert np.isnan(Clock.of(3, None).between(0, 2)) and np.isnan(Clock.of(3, None).plus_minus(1))
    for times, word in (([0, 1], "2 frame times for 3"), ([0, 2, 1], "go back"), ([0, 1, np.nan], "finite")):
        with pytest.raises(ValueError, match=word):
            Clock.of(3, times)
    with pytest.raises(ValueError, match="repeated frames"):
        Clock.of(3, None, [3])
