import json

from experiments.measure_accuracy.run import measure_accuracy, study_errors, true_masks, truth_of
from monai_agglo.phantom import PhantomSpec, PhantomStudy
from monai_agglo.phantom.spec import SwallowSpec
from monai_agglo.swallow import measure


def small_study():
    swallow = SwallowSpec(onset_s=1.2, volume_ml=8, residue_valleculae=0.6)
    return PhantomStudy(PhantomSpec(rows=192, cols=192, n_frames=50, field="none", swallows=(swallow,)))


def test_true_masks_are_those_of_the_frames():
    study = small_study()
    masks = true_masks(study)
    assert (masks["bolus"][..., 25] == study.frame(25)[1][11]).all() and masks["bolus"].shape == (192, 192, 50)


def test_a_small_phantom_is_measured_within_the_targets_of_its_size():
    study = small_study()
    found = measure(true_masks(study), list(study.frame_times_ms))
    errors = study_errors(study, found)
    assert errors["missed"]["swallows"] == [0]
    assert {"bpm", "hyb", "lvc", "ueso", "uesc", "lvco", "mpc", "rest"} <= set(errors["events"])
    assert all(error[0] <= 2 for error in errors["events"].values()), errors["events"]
    assert errors["lengths"]["c2c4"][0] < 3 and errors["areas"]["pharyngeal_area_hold"][0] < 5
    assert truth_of(study)[0]["valleculae_full"] > 20


def test_file_keeps_the_half_that_is_not_run(tmp_path):
    path = tmp_path / "measurements.json"
    path.write_text(json.dumps({"predicted_masks": {"kept": 1}}))
    measure_accuracy(path, 1, size=96, first_seed=9002)  # a patient who does not swallow
    content = json.loads(path.read_text())
    assert (
        content["predicted_masks"] == {"kept": 1}
        and content["true_masks"]["studies_with_wrong_number_of_swallows"] == 0
    )
    assert content["true_masks"]["command"] == "python -m experiments.measure_accuracy --patients 1"
    assert set(content["true_masks"]) >= {"event_error_frames_median", "area_error_pct", "length_error_pct"}
