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
"""Ground truth of the drawing, see cartoon.py."""
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


def test_events_match_the_ground_truth():
    assert len(found().swallows) == 1 and found().scale.facing == "left"
    events = found().swallows[0].events
    assert {name: events[name] for name in EXPECTED_EVENTS} == EXPECTED_EVENTS


def test_measures_match_the_ground_truth():
    got = values(found())
    assert set(got) == set(DEFINITIONS)
    for name, value in EXPECTED.items():
        assert got[name] == pytest.approx(value, rel=0.03, abs=0.02), name
    assert got["epiglottic_inversion"] == pytest.approx(90, abs=35)
    assert found().study["c2c4"].value == pytest.approx(64, rel=0.01)


def test_times_have_uncertainty_and_frames():
    row = found().rows[0]["pharyngeal_transit"]
    assert row.plus_minus == pytest.approx(0.04) and row.frames == (10, 36)
    assert np.isnan(found().rows[0]["pcr"].plus_minus)


def test_reference_ranges():
    row = found().rows[0]
    assert row["stage_transition"].reference == "at most 0.54" and row["stage_transition"].outside is False
    assert row["pcr"].outside is True and "Leonard" in row["pcr"].source
    assert row["hyoid_excursion"].reference == "no range" and row["hyoid_excursion"].outside is None
    assert row["residue_total"].reference == "no range"  # depends on the consistency
    thin = measure(drawn(), TIMES, iddsi=[0]).rows[0]["residue_total"]
    assert "0.68" in thin.reference and "Steele" in thin.source


def test_a_single_frame_of_overlap_is_flagged():
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
def test_invariance_to_position_rotation_and_magnification(angle, mirror, scale, shift):
    result = measure(draw(scale, angle, mirror, shift, size=220), TIMES)
    assert len(result.swallows) == 1
    assert result.scale.facing == ("right" if mirror else "left")
    assert result.study["c2c4"].value == pytest.approx(32 * scale, rel=0.03)
    for name, frame in EXPECTED_EVENTS.items():
        assert abs(result.swallows[0].events[name] - frame) <= 1, name
    got = values(result)
    for name in ("hyoid_excursion", "hyoid_anterior", "hyoid_superior"):
        assert got[name] == pytest.approx(EXPECTED[name], rel=0.12), name
    for name in ("pharyngeal_area_hold", "pharyngeal_area_rest", "valleculae_full"):
        assert got[name] == pytest.approx(EXPECTED[name], rel=0.12), name
    # 20 pixels at scale 1: rasterisation changes the area by up to a fifth
    assert got["residue_valleculae"] == pytest.approx(EXPECTED["residue_valleculae"], rel=0.2)


def test_missing_labels_give_reasons():
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
def test_no_lateral_measures_in_other_views(view):
    result = measure(drawn(), TIMES, view=view)
    assert result.rows == [] and "lateral measures do not apply" in result.reason
    assert json.dumps(result.to_json(), allow_nan=False)


def test_without_bolus_swallow_or_scale():
    masks = drawn()
    empty = {**masks, "bolus": np.zeros_like(masks["bolus"])}
    assert measure(empty, TIMES).reason == "no bolus in any frame"
    held = {**masks, "bolus": np.repeat(masks["bolus"][..., :1], len(TIMES), axis=-1)}
    assert "no bolus passes" in measure(held, TIMES).reason
    blind = {name: mask for name, mask in masks.items() if name != "c4"}
    result = measure(blind, TIMES)
    assert "C4 not found" in result.reason and not result.study["c2c4"].measured
    assert result.airway.flagged[33]  # needs no scale


def test_two_swallows():
    masks = {name: np.concatenate([mask, mask], axis=-1) for name, mask in drawn().items()}
    times = [40.0 * t for t in range(120)]
    result = measure(masks, times)
    assert len(result.rows) == 2
    assert [s.events["bpm"] for s in result.swallows] == [10, 70]
    assert values(result, 1)["pharyngeal_transit"] == pytest.approx(1.04)
    assert [row["airway_frames"].value for row in result.rows] == [1, 1]


def test_without_frame_times():
    result = measure(drawn(), None)
    assert result.swallows[0].events["bpm"] == 10
    assert "frame times are unknown" in result.rows[0]["pharyngeal_transit"].reason
    assert result.rows[0]["pcr"].measured


def test_corrected_events_recompute_the_measures():
    result = measure(drawn(), TIMES, events=[{"bpm": 12, "lvc": None}])
    assert values(result)["pharyngeal_transit"] == pytest.approx(24 * 0.04)
    assert result.rows[0]["lvc_duration"].reason == "LVC: removed by the reader"
    with pytest.raises(ValueError, match="frames 0 to 59"):
        measure(drawn(), TIMES, events=[{"bpm": 60}])
    with pytest.raises(ValueError, match="unknown event"):
        measure(drawn(), TIMES, events=[{"swallowed": 1}])


def test_inconsistent_arguments():
    masks = drawn()
    with pytest.raises(ValueError, match="59 frame times for 60 frames"):
        measure(masks, TIMES[:-1])
    with pytest.raises(ValueError, match="one shape"):
        measure({**masks, "bolus": masks["bolus"][:-1]}, TIMES)
    with pytest.raises(ValueError, match="unknown structures tongue"):
        measure({"tongue": masks["bolus"]}, TIMES)


def test_json_and_table():
    content = json.loads(json.dumps(found().to_json(), allow_nan=False))
    assert content["kind"] == "monai_agglo.measurements" and "Research use only" in content["intended_use"]
    swallow = content["swallows"][0]
    assert set(swallow["events"]) == set(EVENTS)
    assert swallow["events"]["bpm"]["frame_number"] == 11 and swallow["events"]["bpm"]["time_s"] == 0.4
    assert all(len(curve) == 60 for curve in content["curves"].values() if curve)
    rows = table_rows(found())
    assert [row["measure"] for row in rows] == list(DEFINITIONS) and set(rows[0]) == set(COLUMNS)


def test_uncertainty_from_perturbed_masks():
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
