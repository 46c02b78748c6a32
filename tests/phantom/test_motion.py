import numpy as np
import pytest

from monai_agglo.phantom import SwallowSpec
from monai_agglo.phantom.motion import S_RAMUS, S_UES, SwallowCourse, state_at

COURSE = SwallowCourse(SwallowSpec(onset_s=1.5, airway="aspiration", residue_valleculae=0.4, residue_pyriform=0.3))


def test_events_come_in_physiological_order():
    c = COURSE
    assert c.bpm < c.hyb < c.lvc < c.lvco and c.hyb < c.ueso < c.uesc < c.rest
    assert c.hyb - c.bpm == pytest.approx(0.15) and c.uesc - c.ueso == pytest.approx(0.45)


def test_bolus_is_where_the_events_say():
    assert COURSE.head(COURSE.bpm) == pytest.approx(S_RAMUS)
    assert COURSE.head(COURSE.ueso) == pytest.approx(S_UES)
    assert COURSE.tail(COURSE.uesc) == pytest.approx(S_UES)


def test_head_and_tail_never_go_back():
    t = np.linspace(0, 4, 400)
    for position in (COURSE.head, COURSE.tail):
        assert (np.diff([position(x) for x in t]) >= -1e-9).all()
    assert all(COURSE.tail(x) < COURSE.head(x) for x in t)


def test_hyoid_rests_before_and_after_and_reaches_its_excursion():
    assert not COURSE.hyoid(COURSE.hyb - 0.01).any()
    assert np.allclose(COURSE.hyoid(COURSE.rest + 0.1), 0, atol=1e-6)
    peak = max(np.hypot(*COURSE.hyoid(t)) for t in np.linspace(1.5, 3, 300)) * 0.37
    assert peak == pytest.approx(np.hypot(10, 10), rel=0.03)


def test_vestibule_is_closed_exactly_between_its_events():
    closed = lambda t: state_at(t, [COURSE]).closure  # noqa: E731
    assert closed(COURSE.lvc) == pytest.approx(1) and closed(COURSE.lvco) == pytest.approx(1)
    assert closed(COURSE.lvc - 0.13) == 0 and closed(COURSE.lvco + 0.16) == 0


def test_ues_opens_and_closes_at_its_events():
    assert state_at(COURSE.ueso - 0.001, [COURSE]).ues == 0
    assert state_at(COURSE.ueso + 0.13, [COURSE]).ues == pytest.approx(1)
    assert state_at(COURSE.uesc, [COURSE]).ues == pytest.approx(0)


def test_residue_and_aspiration_stay():
    end = state_at(6.0, [COURSE])
    assert end.valleculae == pytest.approx(0.4) and end.pyriform == pytest.approx(0.3)
    assert end.airway == pytest.approx(1.5) and end.head is None
    assert state_at(0.0, [COURSE]).airway < 0


def test_cough_brings_the_aspirate_up():
    c = SwallowCourse(SwallowSpec(onset_s=1.5, airway="aspiration", cough=True))
    assert state_at(6.0, [c]).airway < 0.5 * state_at(c.airway_start + 0.85, [c]).airway


def test_second_swallow_starts_with_the_residue_of_the_first():
    second = SwallowCourse(SwallowSpec(onset_s=COURSE.rest + 1.5))
    before = state_at(COURSE.rest + 0.05, [COURSE, second])
    assert before.valleculae == pytest.approx(0.4)
    assert state_at(second.rest + 0.5, [COURSE, second]).valleculae == pytest.approx(0.0)


def test_no_swallow_no_bolus():
    state = state_at(1.0, [])
    assert state.head is None and state.airway < 0 and state.valleculae == 0
