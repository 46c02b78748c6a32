import json
from functools import lru_cache

import numpy as np
import pytest
from cartoon import TIMES, draw
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_agglo.swallow import COLUMNS, DEFINITIONS, EVENTS, TARGET_NAMES, measure, perturbed, table_rows, with_spread

EXPECTED_EVENTS = {
    "oral": 9, "bpm": 10, "hyb": 13, "lvc": 16, "hyoid_peak": 18, "ueso": 31, "uesc": 36, "mpc": 36, "lvco": 40,
    "rest": 46,
}  # fmt: skip
"""Worked out from the drawing: see cartoon.py."""
EXPECTED = {
    "pharyngeal_transit": 26 * 0.04, "stage_transition": 3 * 0.04, "ues_open_duration": 5 * 0.04,
    "lvc_reaction": 3 * 0.04, "lvc_duration": 24 * 0.04, "hyb_to_ueso": 18 * 0.04, "oral_transit": 0.04,
    "ues_max_width": 100 * (8 - 0.5) / 32, "hyoid_excursion": 100 * 10 / 32, "hyoid_anterior": 100 * 6 / 32,
    "hyoid_superior": 100 * 8 / 32, "pharyngeal_area_hold": 100 * 8 * 62 / 1024,
    "pharyngeal_area_mpc": 100 * 2 * 62 / 1024, "pharyngeal_area_rest": 100 * 8 * 62 / 1024, "pcr": 0.25,
    "residue_total": 100 * 20 / 1024, "residue_valleculae": 100 * 20 / 1024, "residue_pyriform": 0.0,
    "residue_other": 0.0, "valleculae_full": 50.0, "pyriform_full": 0.0, "nrrs_valleculae": 0.5 * 200 / 1024,
    "nrrs_pyriform": 0.0, "airway_frames": 1.0,
}  # fmt: skip


@lru_cache(maxsize=1)
def drawn():
    return draw()


@lru_cache(maxsize=1)
def found():
    return measure(drawn(), TIMES)


def values(result, swallow=0):
    return {name: value.value for name, value in result.rows[swallow].items()}


def test_one_swallow_with_the_events_of_the_drawing():
    assert len(found().swallows) == 1 and found().scale.facing == "left"
    events = found().swallows[0].events
    assert {name: events[name] for name in EXPECTED_EVENTS} == EXPECTED_EVENTS


def test_measures_are_those_worked_out_by_hand():
    got = values(found())
    assert set(got) == set(DEFINITIONS)
    for name, value in EXPECTED.items():
        assert got[name] == pytest.approx(value, rel=0.03, abs=0.02), name
    assert got["epiglottic_inversion"] == pytest.approx(90, abs=35)
    assert found().study["c2c4"].value == pytest.approx(64, rel=0.01)


def test_times_carry_one_frame_and_frames():
    row = found().rows[0]["pharyngeal_transit"]
    assert row.plus_minus == pytest.approx(0.04) and row.frames == (10, 36)
    assert np.isnan(found().rows[0]["pcr"].plus_minus)


def test_references_stand_beside_the_values():
    row = found().rows[0]
    assert row["stage_transition"].reference == "at most 0.54" and row["stage_transition"].outside is False
    assert row["pcr"].outside is True and "Leonard" in row["pcr"].source
    assert row["hyoid_excursion"].reference == "no range" and row["hyoid_excursion"].outside is None
    assert row["residue_total"].reference == "no range"  # depends on the consistency
    thin = measure(drawn(), TIMES, iddsi=[0]).rows[0]["residue_total"]
    assert "0.68" in thin.reference and "Steele" in thin.source


def test_a_single_frame_below_the_folds_is_flagged():
    flags = found().airway
    assert np.flatnonzero(flags.flagged).tolist() == [33]
    assert flags.deepest(slice(None)) == "below the vocal folds"
    assert "PAS" not in json.dumps(found().to_json()) and "score is computed" in found().to_json()["airway"]["note"]


@settings(max_examples=2, deadline=None)
@given(
    angle=st.floats(-40, 40),
    mirror=st.booleans(),
    scale=st.floats(1.3, 1.7),
    shift=st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
)
def test_nothing_depends_on_place_direction_or_size(angle, mirror, scale, shift):
    result = measure(draw(scale, angle, mirror, shift, size=220), TIMES)
    assert len(result.swallows) == 1
    assert result.scale.facing == ("right" if mirror else "left")
    assert result.study["c2c4"].value == pytest.approx(32 * scale, rel=0.03)
    for name, frame in EXPECTED_EVENTS.items():
        assert abs(result.swallows[0].events[name] - frame) <= 1, name
    got = values(result)
    for name in ("hyoid_excursion", "hyoid_anterior", "hyoid_superior"):
        assert got[name] == pytest.approx(EXPECTED[name], rel=0.12), name
    for name in ("pharyngeal_area_hold", "pharyngeal_area_rest", "residue_valleculae", "valleculae_full"):
        assert got[name] == pytest.approx(EXPECTED[name], rel=0.12), name


def test_twelve_structures_give_what_they_can_and_say_why_not():
    masks = {name: mask for name, mask in drawn().items() if name in TARGET_NAMES}
    result = measure(masks, TIMES)
    row = result.rows[0]
    for name in ("pharyngeal_transit", "ues_open_duration", "ues_max_width", "pcr", "residue_total"):
        assert row[name].measured, (name, row[name].reason)
    assert "UES not labelled" in row["ues_max_width"].note
    for name, word in (("hyoid_excursion", "hyoid"), ("lvc_duration", "vestibule"), ("valleculae_full", "valleculae")):
        assert not row[name].measured and word in row[name].reason, name
    assert result.airway.deepest(slice(None)) == "airway, level not known"


@pytest.mark.parametrize("view", ["ap", None, "oblique"])
def test_no_lateral_measure_from_another_view(view):
    result = measure(drawn(), TIMES, view=view)
    assert result.rows == [] and "lateral measures do not apply" in result.reason
    assert json.dumps(result.to_json(), allow_nan=False)


def test_no_bolus_no_swallow_no_scale():
    masks = drawn()
    empty = {**masks, "bolus": np.zeros_like(masks["bolus"])}
    assert measure(empty, TIMES).reason == "no bolus in any frame"
    held = {**masks, "bolus": np.repeat(masks["bolus"][..., :1], len(TIMES), axis=-1)}
    assert "no bolus passes" in measure(held, TIMES).reason
    blind = {name: mask for name, mask in masks.items() if name != "c4"}
    result = measure(blind, TIMES)
    assert "C4 not found" in result.reason and not result.study["c2c4"].measured
    assert result.airway.flagged[33]  # what needs no scale is given all the same


def test_two_swallows_get_two_rows():
    masks = {name: np.concatenate([mask, mask], axis=-1) for name, mask in drawn().items()}
    times = [40.0 * t for t in range(120)]
    result = measure(masks, times)
    assert len(result.rows) == 2
    assert [s.events["bpm"] for s in result.swallows] == [10, 70]
    assert values(result, 1)["pharyngeal_transit"] == pytest.approx(1.04)
    assert [row["airway_frames"].value for row in result.rows] == [1, 1]


def test_without_times_there_are_frames_but_no_seconds():
    result = measure(drawn(), None)
    assert result.swallows[0].events["bpm"] == 10
    assert "times of the frames are not known" in result.rows[0]["pharyngeal_transit"].reason
    assert result.rows[0]["pcr"].measured


def test_corrected_events_recompute_the_numbers():
    result = measure(drawn(), TIMES, events=[{"bpm": 12, "lvc": None}])
    assert values(result)["pharyngeal_transit"] == pytest.approx(24 * 0.04)
    assert result.rows[0]["lvc_duration"].reason == "LVC: taken away by the reader"
    with pytest.raises(ValueError, match="frames 0 to 59"):
        measure(drawn(), TIMES, events=[{"bpm": 60}])
    with pytest.raises(ValueError, match="unknown event"):
        measure(drawn(), TIMES, events=[{"swallowed": 1}])


def test_what_does_not_fit_is_refused():
    masks = drawn()
    with pytest.raises(ValueError, match="59 frame times for 60 frames"):
        measure(masks, TIMES[:-1])
    with pytest.raises(ValueError, match="one shape"):
        measure({**masks, "bolus": masks["bolus"][:-1]}, TIMES)
    with pytest.raises(ValueError, match="unknown structures tongue"):
        measure({"tongue": masks["bolus"]}, TIMES)


def test_json_is_strict_and_the_table_has_a_row_per_measure():
    content = json.loads(json.dumps(found().to_json(), allow_nan=False))
    assert content["kind"] == "monai_agglo.measurements" and "Research use only" in content["intended_use"]
    swallow = content["swallows"][0]
    assert set(swallow["events"]) == set(EVENTS)
    assert swallow["events"]["bpm"]["frame_number"] == 11 and swallow["events"]["bpm"]["time_s"] == 0.4
    assert all(len(curve) == 60 for curve in content["curves"].values() if curve)
    rows = table_rows(found())
    assert [row["measure"] for row in rows] == list(DEFINITIONS) and set(rows[0]) == set(COLUMNS)


def test_perturbed_masks_give_a_spread():
    masks = drawn()
    rng = np.random.default_rng(0)
    again = [measure(perturbed(masks, rng), TIMES) for _ in range(3)]
    result = with_spread(found(), again)
    assert 0 < result.study["c2c4"].uncertainty < 3
    row = result.rows[0]
    assert (
        row["pharyngeal_area_mpc"].uncertainty > 0
        and row["pharyngeal_area_mpc"].value == values(found())["pharyngeal_area_mpc"]
    )
    assert np.isfinite(row["pharyngeal_transit"].uncertainty)
