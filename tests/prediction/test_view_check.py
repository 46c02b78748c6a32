"""The view check: drawn necks pass, anything else does not, and the reason is the right one."""

import json

import numpy as np
import pytest
from app_samples import write_cine
from PIL import Image

from monai_agglo.bundle.calibrate_view import calibrate_view_check
from monai_agglo.prediction.run import predict
from monai_agglo.prediction.view_check import FrameView, ViewCheck, fit_view_check, view_record
from monai_agglo.prediction.view_features import FEATURES, WORDS, facing, view_features
from monai_agglo.swallow import TARGET_NAMES, index_of


def neck(seed=0, size=128, flip=False, sure=0.97):
    """Probabilities of a drawn neck that looks to the left, like the priors of the structures."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    p = np.full((12, size, size), 0.01, np.float32)
    scale, dx, dy = rng.uniform(0.8, 1.15), *rng.uniform(-0.06, 0.06, 2)

    def ellipse(name, cx, cy, rx, ry):
        cx, cy = 0.5 + scale * (cx - 0.5) + dx, 0.5 + scale * (cy - 0.5) + dy
        inside = ((x - cx) / (rx * scale)) ** 2 + ((y - cy) / (ry * scale)) ** 2
        p[index_of(name)] = np.maximum(p[index_of(name)], sure / (1 + np.exp(np.minimum(8 * (inside - 1), 60))))

    for i, name in enumerate(("c1", "c2", "c3", "c4", "c5", "c6", "c7")):
        jitter = rng.uniform(-0.008, 0.008, 2)
        ellipse(name, 0.55 + 0.045 * i + jitter[0], 0.28 + 0.095 * i + jitter[1], 0.09, 0.04)
    ellipse("mandible", 0.24, 0.61, 0.2, 0.09)
    ellipse("pharynx", 0.5, 0.6, 0.05, 0.2)
    ellipse("trachea", 0.55, 0.88, 0.06, 0.09)
    ellipse("epiglottis", 0.45, 0.68, 0.03, 0.06)
    return p[..., ::-1] if flip else p


def rubbish(seed=0, size=128):
    """Probabilities as a network gives them on a picture that it does not know."""
    rng = np.random.default_rng(seed)
    p = np.full((12, size, size), 0.02, np.float32)
    for _ in range(rng.integers(0, 25)):
        c, (cy, cx) = rng.integers(12), rng.integers(0, size, 2)
        h, w = rng.integers(2, 30, 2)
        p[c, cy : cy + h, cx : cx + w] = rng.uniform(0.2, 0.95)
    return p


@pytest.fixture(scope="module")
def rule():
    yes = np.array([view_features(neck(i, flip=i % 2 == 0)) for i in range(60)])
    no = np.array([view_features(rubbish(i)) for i in range(60)])
    return fit_view_check(yes, no)


def test_features_are_finite_and_grow_with_likeness():
    good, bad = view_features(neck()), view_features(rubbish(3))
    nothing = view_features(np.zeros((12, 64, 64)))
    everything = view_features(np.ones((12, 64, 64)))
    for features in (good, bad, nothing, everything, view_features(np.full((12, 1, 1), 0.6))):
        assert features.shape == (len(FEATURES),) and np.isfinite(features).all()
    assert (good >= nothing - 1e-9).mean() > 0.8
    values = dict(zip(FEATURES, good))
    assert values["vertebrae"] == values["order"] == 1 and values["overlap"] == 0 and values["upright"] > 0.8
    assert values["straightness"] > 0.8 and values["spacing"] > 0.7 and values["jaw"] > 0.3


def test_features_say_what_is_wrong():
    good = dict(zip(FEATURES, view_features(neck())))
    swapped = neck()
    swapped[[3, 6]] = swapped[[6, 3]]
    assert dict(zip(FEATURES, view_features(swapped)))["order"] < good["order"]
    assert dict(zip(FEATURES, view_features(neck()[:, ::-1])))["upright"] < 0
    no_jaw = neck()
    no_jaw[index_of("mandible")] = 0
    assert dict(zip(FEATURES, view_features(no_jaw)))["jaw"] == 0
    assert dict(zip(FEATURES, view_features(neck(sure=0.6))))["sure"] < good["sure"] - 0.3
    behind = neck()
    behind[index_of("pharynx")] = np.roll(behind[index_of("pharynx")], 50, axis=1)
    assert dict(zip(FEATURES, view_features(behind)))["airway"] < good["airway"]


def test_facing_either_way():
    assert facing(neck()) == "left" and facing(neck(flip=True)) == "right"
    assert facing(np.zeros((12, 64, 64))) is None
    no_jaw = neck()
    no_jaw[index_of("mandible")] = 0
    assert facing(no_jaw) == "left"  # told by the airway


def test_unseen_necks_pass_and_rubbish_does_not(rule):
    passed = [rule.frame(neck(1000 + i, flip=i % 3 == 0)).lateral for i in range(60)]
    flagged = [not rule.frame(rubbish(1000 + i)).lateral for i in range(60)]
    assert np.mean(passed) >= 0.97 and np.mean(flagged) >= 0.97
    assert min(rule.weight) >= 0 and 0 < rule.threshold <= 0.5


def test_part_of_a_neck_passes(rule):
    whole = neck(5)
    part = np.pad(whole[:, 20:100, 10:115], ((0, 0), (0, 10), (0, 0)))
    assert rule.frame(part).lateral


def test_reasons_are_words_for_a_person(rule):
    empty = rule.frame(np.zeros((12, 64, 64)))
    assert not empty.lateral and empty.score < 0.1 and empty.reason in WORDS.values()
    assert rule.frame(neck()).reason == ""


def test_cine_is_lateral_when_half_of_it_is(rule):
    yes, no = FrameView(0.9, True, "left", ""), FrameView(0.1, False, None, "no jaw in front of the spine")
    view = rule.cine([yes, no, yes, no, no, yes])
    assert view.lateral and view.flagged == [1, 3, 4] and view.facing == "left" and view.reason == ""
    view = rule.cine([yes, no, no])
    assert not view.lateral and view.reason == "no jaw in front of the spine" and view.score == pytest.approx(0.1)
    record = view_record(rule, [yes, no])
    assert record["looks_like_lateral_vfss"] is True and record["frame_scores"] == [0.9, 0.1]
    assert record["flagged"] == [1] and record["flagged_reasons"] == ["no jaw in front of the spine"]


def test_threshold_spares_lateral_frames():
    """Overlapping classes: the error goes to the other side."""
    rng = np.random.default_rng(0)
    yes, no = rng.normal(0.6, 1, (400, len(FEATURES))), rng.normal(0, 1, (400, len(FEATURES)))
    rule = fit_view_check(yes, no, spared=0.01)
    assert (rule.score(yes) < rule.threshold).mean() <= 0.01
    assert (rule.score(no) < rule.threshold).mean() > 0.2


def test_few_frames_are_refused():
    with pytest.raises(ValueError, match="at least 20"):
        fit_view_check(np.zeros((5, len(FEATURES))), np.zeros((50, len(FEATURES))))
    with pytest.raises(ValueError, match="12 are expected"):
        view_features(np.zeros((3, 8, 8)))


def test_stored_rule_is_the_same_rule(rule, tmp_path):
    (tmp_path / "configs").mkdir()
    path = tmp_path / "configs" / "view_check.json"
    assert ViewCheck.load(tmp_path) is None
    path.write_text(json.dumps(rule.to_json()))
    again = ViewCheck.load(tmp_path)
    for i in range(10):
        assert again.frame(neck(i)).score == pytest.approx(rule.frame(neck(i)).score, abs=1e-3)
    stored = rule.to_json()
    stored["features"].pop("jaw")
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="damaged"):
        ViewCheck.load(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        ViewCheck.load(tmp_path)


@pytest.fixture
def calibrated(tmp_path, random_bundle):
    """A bundle with a rule, fitted on files; with random weights it cannot be a good one."""
    import shutil

    import nibabel as nib

    bundle = shutil.copytree(random_bundle, tmp_path / "b")
    rng = np.random.default_rng(0)
    cases = []
    (tmp_path / "set").mkdir()
    for i in range(5):
        write_cine(tmp_path / "set" / f"{i}.dcm", 6, seed=i)
        masks = np.zeros((60, 80, 6, 12), np.uint8)
        for k in range(3, 8):
            masks[10 + 6 * k : 14 + 6 * k, 30:40, :, k] = 1
        nib.save(nib.Nifti1Image(masks, np.eye(4)), tmp_path / "set" / f"{i}.nii.gz")
        cases.append({"image": f"{i}.dcm", "label": f"{i}.nii.gz", "patient_id": f"p{i}"})
    (tmp_path / "set" / "datalist.json").write_text(json.dumps({"training": [], "validation": cases}))
    (tmp_path / "other").mkdir()
    for i in range(10):
        Image.fromarray(rng.integers(0, 255, (50, 60), dtype=np.uint8)).save(tmp_path / "other" / f"{i}.png")
    return bundle, calibrate_view_check(
        tmp_path / "set", [tmp_path / "other"], bundle, frames=3, drawn=8, frontal=1, described={"why": "test"}
    )


def test_calibration_writes_a_rule_with_its_origin(calibrated):
    bundle, rule = calibrated
    stored = json.loads((bundle / "configs" / "view_check.json").read_text())
    origin = stored["provenance"]
    assert origin["lateral"]["patients"] == 5 and origin["lateral"]["frames"] >= 30
    counts = origin["other"]["frames_per_kind"]
    assert counts["other"] == 20 and counts["frontal phantom"] == 4 and counts["drawn chest"] == 2
    assert origin["other"]["frames"] == sum(counts.values()) and origin["other"]["pictures"] == 10 + 1 + 8
    assert origin["why"] == "test" and origin["cross_validation"]["folds"] == 4
    flagged = origin["cross_validation"]["frames_flagged_pct"]
    assert {"lateral", "lateral: whole", "lateral: worn", "other", "other: frontal phantom"} <= set(flagged)
    assert all(0 <= value <= 100 for value in flagged.values())
    assert list(stored["features"]) == list(FEATURES) and stored["threshold"] == pytest.approx(rule.threshold, abs=1e-6)


def test_predict_reports_the_view(calibrated, tmp_path):
    bundle, _ = calibrated
    source = write_cine(tmp_path / "c.dcm", 5)
    record = predict(source, tmp_path / "out", bundle).cases[0].record
    view = record["view"]
    assert len(view["frame_scores"]) == 5 and view["facing"] in ("left", "right", None)
    assert view["looks_like_lateral_vfss"] == (2 * len(view["flagged"]) <= 5)
    assert not any("view check was fitted for other weights" in text for text in record["warnings"])
    # The rule says when it does not belong to the weights, and a rule that flags everything is heard.
    path = bundle / "configs" / "view_check.json"
    stored = json.loads(path.read_text())
    stored["provenance"]["weights_sha256"] = "0" * 64
    stored["bias"], stored["threshold"] = -30.0, 0.5
    path.write_text(json.dumps(stored))
    record = predict(source, tmp_path / "out", bundle).cases[0].record
    assert record["view"]["looks_like_lateral_vfss"] is False and record["view"]["flagged"] == [0, 1, 2, 3, 4]
    assert record["warnings"][0].startswith("This does not look like lateral VFSS (")
    assert any("fitted for other weights" in text for text in record["warnings"])


def test_names_of_the_targets_are_those_the_features_use():
    assert {"mandible", "epiglottis", "trachea", "pharynx", "c2", "c7"} <= set(TARGET_NAMES)
