import numpy as np
import pytest

from monai_agglo.swallow.bolus import BolusCurves
from monai_agglo.swallow.clock import Clock
from monai_agglo.swallow.timing import find_swallows, first_beyond, passages, rise_from, settled_from


def test_passages():
    assert passages(np.zeros(20)) == []
    assert passages(np.full(20, 0.01)) == []  # a film
    one = np.zeros(20)
    one[5:9] = [0.05, 0.2, 0.2, 0.1]
    assert passages(one) == [(6, 9)]
    # a large bolus, and a small one interrupted for one frame
    more = np.concatenate([one, [0.06, 0.06, 0, 0.06, 0.06], np.zeros(5)])
    assert passages(more, 1 / 30) == [(6, 9), (20, 25)]
    assert passages(more, 1 / 7.5) == [(6, 9), (20, 22), (23, 25)]  # a gap of one frame is longer than 0.1 s


def test_film_after_a_bolus_is_excluded():
    width = np.array([0, 0.3, 0.4, 0.3, 0.06, 0.06, 0.06])
    assert passages(width) == [(1, 4)]


def curves_of(width, reach, filled):
    """Bolus curves with the values needed to find swallows."""
    nothing = np.full(len(width), np.nan)
    places = np.full((len(width), 2), np.nan)
    return BolusCurves(nothing, np.array(filled), places, places, places, np.array(reach), nothing, np.array(width))


def a_swallow():
    """30 frames: bolus at the mandible in frame 4, in the UES in 8 to 15, pharynx constricted in 6 to 17."""
    width, reach, filled, pharynx = np.zeros(30), np.full(30, 1.0), np.full(30, 2.0), np.full(30, 100.0)
    reach[:4], width[8:16], pharynx[6:18] = -1.0, 0.2, 40.0
    filled[:4], filled[4:12] = 0.0, 30.0
    return width, reach, filled, pharynx


def events_of(swallows):
    return [tuple(swallow.events.get(name) for name in ("bpm", "ueso", "uesc")) for swallow in swallows]


def test_residue_at_the_ues_is_not_a_swallow():
    width, reach, filled, pharynx = a_swallow()
    width[22:] = 0.1  # residue has sunk, the pharynx is wide
    assert events_of(find_swallows(curves_of(width, reach, filled), pharynx_px=pharynx)) == [(4, 8, 16)]
    # also if its head crosses the line of the mandible with little bolus in the pharynx
    reach[20] = -0.1
    assert events_of(find_swallows(curves_of(width, reach, filled), pharynx_px=pharynx)) == [(4, 8, 16)]
    # residue cannot be recognised without a visible pharynx
    for unknown in (None, np.full(30, np.nan)):
        assert len(find_swallows(curves_of(width, reach, filled), pharynx_px=unknown)) == 2


def test_clearing_swallow():
    """No bolus from the mouth, but the pharynx has widened and constricts again."""
    width, reach, filled, pharynx = a_swallow()
    width[22:26], pharynx[21:27] = 0.1, 50.0
    found = find_swallows(curves_of(width, reach, filled), pharynx_px=pharynx)
    assert events_of(found) == [(4, 8, 16), (None, 22, 26)] and "in front of the" in found[1].missing["bpm"]


def test_interrupted_bolus_is_one_swallow():
    width, reach, filled, pharynx = a_swallow()
    width[10:13] = 0.0
    assert passages(width, 1 / 30) == [(8, 10), (13, 16)]
    assert events_of(find_swallows(curves_of(width, reach, filled), 1 / 30, pharynx)) == [(4, 8, 16)]


def test_passage_before_the_constriction_belongs_to_the_swallow():
    width, reach, filled, pharynx = a_swallow()
    pharynx[6:11], width[7:9], width[9:12] = 95.0, 0.1, 0.0
    assert events_of(find_swallows(curves_of(width, reach, filled), 1 / 30, pharynx)) == [(4, 7, 16)]


def test_swallow_with_weak_constriction():
    width, reach, filled, pharynx = a_swallow()
    pharynx[6:18] = 90.0
    assert events_of(find_swallows(curves_of(width, reach, filled), pharynx_px=pharynx)) == [(4, 8, 16)]


def test_recording_begins_during_the_swallow():
    """The pharynx is constricted in all frames and empties; residue would stay."""
    width, reach, filled, pharynx = (curve[6:18] for curve in a_swallow())
    filled[8:] = 2.0
    assert events_of(find_swallows(curves_of(width, reach, filled), pharynx_px=pharynx)) == [(None, 2, 10)]
    filled[:] = 2.0
    assert find_swallows(curves_of(width, reach, filled), pharynx_px=pharynx) == []


def test_rise_from():
    curve = np.array([0, 0.2, 0, 0, 0, 0.1, 1, 3, 5.0])
    assert rise_from(curve, 8, 0.1) == 6
    assert rise_from(curve, 8, 0.01) == 5
    assert rise_from(curve[::-1], 8, 0.1) is None  # falls
    assert rise_from(np.full(5, np.nan), 4, 0.1) is None


def test_settled_from():
    first = np.array([0, 5, 9, 10, 10, 10, 10.0])
    later = np.array([9, 9, 9, 9, 3, 0, 0, 0.0])
    assert settled_from([first], 0, 7, 3, 0.05) == 3
    assert settled_from([first[:7], later[1:]], 0, 7, 3, 0.05) == 4
    assert settled_from([np.arange(7.0)], 0, 7, 3, 0.05) is None  # still moving


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_end_of_motion_is_extrapolated_below_the_noise(noise):
    time = np.linspace(-1, 2, 46)
    curve = np.where(time < 1, 1 - (3 - 2 * np.clip(time, 0, 1)) * np.clip(time, 0, 1) ** 2, 0.0)  # rest in frame 30
    curve += np.random.default_rng(3).normal(0, 1, 46) * noise
    assert abs(settled_from([curve], 15, 46, 4, 0.015) - 30) <= 1


def test_first_beyond():
    flags = np.array([True, False, True])
    assert first_beyond(flags, 0, 3) == 0 and first_beyond(flags, 1, 3) == 2 and first_beyond(flags, 1, 2) is None


def test_clock():
    clock = Clock.of(4, [0, 33, 66, 99], repeated=[1, 3])
    assert clock.pulse.tolist() == [0, 0, 2, 2] and clock.frame_s == pytest.approx(0.066)
    assert clock.between(0, 3) == pytest.approx(0.099) and clock.plus_minus(3) == pytest.approx(0.066)
    uneven = Clock.of(3, [0, 30, 130])
    assert uneven.plus_minus(1, 2) == pytest.approx(0.1) and uneven.plus_minus(0) == uneven.frame_s
    assert np.isnan(Clock.of(3, None).between(0, 2)) and np.isnan(Clock.of(3, None).plus_minus(1))
    for times, word in (([0, 1], "2 frame times for 3"), ([0, 2, 1], "decrease"), ([0, 1, np.nan], "finite")):
        with pytest.raises(ValueError, match=word):
            Clock.of(3, times)
    with pytest.raises(ValueError, match="repeated frames"):
        Clock.of(3, None, [3])
