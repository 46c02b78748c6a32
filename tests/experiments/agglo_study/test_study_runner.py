import argparse
import json
import math

import pytest
import torch
from study_samples import tiny_settings

from experiments.agglo_study import command
from experiments.agglo_study import distil as distilling
from experiments.agglo_study.cells import with_seeds
from experiments.agglo_study.claims import check_claims
from experiments.agglo_study.figures import collect
from experiments.agglo_study.images import CACHES, StudyFrames, choose_images, frames_of, open_cache, teachers
from experiments.agglo_study.plan import grid, singles
from experiments.agglo_study.report import write_report
from experiments.agglo_study.runner import Study
from monai_agglo.distill import training
from monai_agglo.handlers import resumable_checkpoint
from monai_agglo.networks.student_file import read_student


def test_every_stage_is_there(finished_study):
    study, said = finished_study
    done = study.store.finished()
    cells = len(grid(study.settings))
    assert sum(key.startswith("distil/") for key in done) >= cells - 1 + 2 * 5 + 2
    assert {key.split("/")[0] for key in done} == {"distil", "screen", "val", "test"}
    assert len(study.ranking()) == 2 and any("no task" in line for line in said)


def test_going_on_does_nothing_again(finished_study):
    study, said = finished_study
    before = len(said)
    study.run()
    assert all(line.startswith("stage") for line in said[before:])


def test_nothing_goes_on_before_the_screening(tiny_data, tmp_path):
    study = Study(tiny_settings(), tiny_data, tmp_path, log=lambda text: None)
    for stage in (study._finals, study._students, study._ship):
        with pytest.raises(RuntimeError, match="screening is not complete"):
            stage()
    assert study.store.finished() == [] and not (tmp_path / "choice.json").exists()


def test_tests_are_not_read_before_the_choice(finished_study, tmp_path):
    study, _ = finished_study
    cell, task = study.finalists()[0], study.probed[0]
    assert study.scores("test", cell, task) is not None
    path = study.folder / "choice.json"
    aside = path.rename(tmp_path / "choice.json")
    try:
        assert study.scores("test", cell, task) is None and study.mean_score("test", [cell]) is None
        assert collect(study).stage == "val"
        assert study.choice().name == json.loads(aside.read_text())["chosen"].split("-")[0]
    finally:
        aside.rename(path)


def test_finalists_are_distilled_for_longer(finished_study):
    study, _ = finished_study
    cells = [cell for cell in study.finalists() if cell.method != "scratch"]
    assert {study.store.get(study.distil_key(cell.at(seed=1)))["steps"] for cell in cells} == {4}
    alone = singles(study.settings, study.choice().at(seed=1)).values()
    assert {study.store.get(study.distil_key(cell))["steps"] for cell in alone} == {4}
    assert study.store.get(study.distil_key(study.shipped()))["steps"] == 8
    assert {study.store.get(study.distil_key(cell))["steps"] for cell in grid(study.settings)[1:]} == {2}


def test_distillation_sees_no_held_image(finished_study):
    study, _ = finished_study
    for images in ("all", "shippable", "held"):
        parts = {study.tasks[name].parts[index] for name, index in choose_images(study.tasks, images)}
        assert parts == {"val" if images == "held" else "train"} or (images == "held" and not parts)
    assert {name for name, _ in choose_images(study.tasks, "shippable")} == {"ct_aorta"}
    every, few = (choose_images(study.tasks, "all", most) for most in (None, (2, 1)))
    assert set(few) < set(every) and all([name for name, _ in few].count(task) <= 2 for task in study.tasks)
    frames = StudyFrames(study.tasks, every, "")
    assert frames[0].shape == (1, 96, 96) and frames[0].min() >= 0 and frames[0].max() <= 1


def test_all_features_are_the_teachers(finished_study):
    """A build looks at two frames by chance: here all are looked at, so that no run of these tests depends on which."""
    study, _ = finished_study
    for images in CACHES:
        frames = frames_of(study.tasks, images, study.settings)
        found = open_cache(study.folder, images).verify(frames, teachers(study.settings), count=len(frames))
        assert min(found.values()) > 0.9994
    shippable = [name for name, _ in choose_images(study.tasks, "shippable")]
    assert study.store.get(study.distil_key(study.shipped()))["images"] == len(shippable) > 0


def test_students_are_told_apart_by_method_only(finished_study):
    study, _ = finished_study
    cells = [cell for cell in grid(study.settings) if cell.method in ("scratch", "equal")]
    first = [distilling.new_student(cell).state_dict() for cell in cells]
    assert all(torch.equal(value, first[1][name]) for name, value in first[0].items())
    trained = distilling.load_student(study.folder, cells[1]).state_dict()
    assert any(not torch.equal(value, first[1][name]) for name, value in trained.items())


def test_card_of_the_student_that_is_given_away(finished_study):
    study, _ = finished_study
    _, card = read_student(distilling.student_path(study.folder, study.shipped()))
    assert card["data"]["licences"] == {"ct_aorta": "CC BY 4.0 (README)"} and card["random"] is True
    assert {teacher["name"] for teacher in card["teachers"]} == {"wide", "coarse"}


def test_a_killed_distillation_gives_the_same_student(finished_study, monkeypatch):
    study, _ = finished_study
    cell = next(cell for cell in grid(study.settings) if cell.method == "mlp_stable").at(seed=7, steps=4)

    def weights():
        distilling.distil(cell, study.settings, study.tasks, study.folder)
        return distilling.load_student(study.folder, cell).state_dict()

    whole = weights()
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 2)
    save = resumable_checkpoint.save_atomically

    def save_and_die(state, path):
        save(state, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(resumable_checkpoint, "save_atomically", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        weights()
    assert (study.folder / "checkpoints" / f"{cell.id}.pt").is_file()
    monkeypatch.setattr(resumable_checkpoint, "save_atomically", save)
    again = weights()
    assert all(torch.equal(value, whole[name]) for name, value in again.items())
    assert not (study.folder / "checkpoints" / f"{cell.id}.pt").exists()


def test_students_may_see_parts_of_frames(finished_study):
    study, _ = finished_study
    cell = next(cell for cell in grid(study.settings) if cell.method == "equal").at(seed=8)

    def weights(zoom):
        distilling.distil(cell, study.settings.changed(zoom=zoom), study.tasks, study.folder)
        return distilling.load_student(study.folder, cell).state_dict()

    whole, parts, again = weights(None), weights((0.7, 1.6)), weights((0.7, 1.6))
    assert any(not torch.equal(value, whole[name]) for name, value in parts.items())
    assert all(torch.equal(value, parts[name]) for name, value in again.items())


def test_report_follows_the_scheme(finished_study, tmp_path):
    study, _ = finished_study
    figures = write_report(study, tmp_path)
    content = json.loads((tmp_path / "agglo_study.json").read_text())
    assert content.pop("partial") == "teachers have RANDOM weights"
    assert set(content) == {
        "seeds", "students", "tasks", "methods", "gain_over_simple", "gain_over_equal",
        "worst_teacher_retention_ratio", "gain_over_best_single", "compute_hours", "command",
    }  # fmt: skip
    seeds = with_seeds([study.choice()], 2)
    ours = study.store.get(study.distil_key(seeds[0]))["retention"]

    def kept(teacher, cells):
        return sum(study.store.get(study.distil_key(cell))["retention"][teacher]["r2"] for cell in cells)

    alone = {t: kept(t, [singles(study.settings, cell)[t] for cell in seeds]) for t in ours}
    if min(alone.values()) > 0:
        ratio = min(kept(t, seeds) / alone[t] for t in ours)
        assert content["worst_teacher_retention_ratio"] == pytest.approx(ratio, abs=1e-4)
    else:
        assert content["worst_teacher_retention_ratio"] is None
    assert content["seeds"] == 2 and content["students"] == ["lcnet_050", "lcnet_075"]
    assert len(content["tasks"]) == 2 and content["compute_hours"] >= 0
    for row in content["methods"].values():
        low, high = row["ci95"]
        assert low <= row["mean_dice"] <= high
    assert {"scratch", "simple"} < set(content["methods"])
    chosen = content["methods"][figures.chosen]
    assert set(chosen["retention"]) == {"wide", "coarse"}
    gain = chosen["mean_dice"] - content["methods"]["simple"]["mean_dice"]
    assert content["gain_over_simple"]["mean"] == pytest.approx(gain, abs=2e-5)
    text = (tmp_path / "agglo_study.md").read_text()
    assert "Not a result yet" in text and figures.chosen in text and "one scan" in text
    for name in ("gains", "shots", "retention", "weights"):
        assert (tmp_path / f"agglo_study_{name}.png").stat().st_size > 5000


def test_claims_say_what_they_rest_on(finished_study):
    study, _ = finished_study
    gain, order, coarse = check_claims(study, collect(study))
    assert gain.verdict in ("holds", "does not hold") and "2 seeds" in gain.evidence
    assert order.verdict == "not measured yet" and "mlp_stable over equal" in order.evidence
    assert coarse.verdict == "not measured yet"


def test_a_study_under_way_is_marked(finished_study, tmp_path):
    study, _ = finished_study
    hidden = study.store.path(study.probe_key("test", study.finalists()[0], study.probed[0]))
    moved = hidden.rename(tmp_path / "hidden.json")
    try:
        figures = write_report(study, tmp_path)
    finally:
        moved.rename(hidden)
    content = json.loads((tmp_path / "agglo_study.json").read_text())
    assert figures.stage == "val" and "9 have been tested" in content["partial"] and "validation" in content["partial"]
    assert all(math.isfinite(row["mean_dice"]) for row in content["methods"].values())
    tests = study.folder / "results" / "test"
    moved = tests.rename(tmp_path / "test")
    try:
        assert collect(study).missing == "no test image has been looked at, these are validation images"
    finally:
        moved.rename(tests)


def test_a_student_that_waits_for_its_test_is_named(finished_study, tmp_path):
    study, _ = finished_study
    cell, task = study.other_students()[0], study.probed[0]
    path = study.store.path(study.probe_key("test", cell, task))
    aside = path.rename(tmp_path / "aside.json")
    try:
        assert collect(study).missing == f"not tested yet: {cell.id}"
    finally:
        aside.rename(path)
    assert collect(study).missing == ""


def test_an_empty_study_has_no_report(tiny_data, tmp_path):
    study = Study(tiny_settings(), tiny_data, tmp_path, log=lambda text: None)
    with pytest.raises(RuntimeError, match="nothing to report"):
        collect(study)
    with pytest.raises(ValueError, match="other seeds"):
        Study(tiny_settings(seeds=3), tiny_data, tmp_path, log=lambda text: None)


def test_estimate_covers_every_stage(finished_study):
    from experiments.agglo_study.estimate import estimate

    study, _ = finished_study
    found = estimate(study)
    assert set(found.hours) == {"features", "screen", "finals", "students", "ship"}
    assert 0 < found.distilling < found.total and "CPU-hours" in found.describe()
    assert found.steps_that_fit(found.total, 100) == 100 and found.steps_that_fit(0, 100) == 0


def test_command(finished_study, tiny_data, tmp_path, monkeypatch, capsys):
    study, _ = finished_study
    monkeypatch.setattr(command, "StudySettings", tiny_settings)
    arguments = ["--shared", str(tiny_data.parent), "--report", str(tmp_path / "report"), "--random-weights"]
    arguments += ["--device", "cpu", "--threads", str(torch.get_num_threads())]
    done = len(study.store.finished())
    command.main([*arguments, "--output", str(study.folder)])
    command.main([*arguments, "--output", str(study.folder), "--report-only"])
    assert capsys.readouterr().out.count("the study is complete") == 2 and len(study.store.finished()) == done
    made_by = json.loads((tmp_path / "report" / "agglo_study.json").read_text())["command"]
    assert made_by == "python -m experiments.agglo_study"
    given = {"final_steps": 300, "zoom": (0.7, 1.6)}
    expected = f"{made_by} --compact --final-steps 300 --zoom 0.7 1.6"
    assert command._command(argparse.Namespace(compact=True), given) == expected
    fresh = ["--output", str(tmp_path / "fresh"), "--budget-hours", "1e-6"]
    command.main([*arguments, *fresh])  # too dear: not begun
    assert "more than the budget" in capsys.readouterr().out
    assert not (tmp_path / "fresh" / "features").exists()
    with pytest.raises(SystemExit):
        command.main([*arguments, *fresh, "--report-only"])
    assert "nothing to report" in capsys.readouterr().err


def test_another_student_than_the_choice_is_given_away(tiny_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "StudySettings", tiny_settings)
    arguments = ["--shared", str(tiny_data.parent), "--output", str(tmp_path), "--random-weights", "--device", "cpu"]
    arguments += ["--threads", str(torch.get_num_threads()), "--report", str(tmp_path / "report"), "--ship-steps", "3"]
    with pytest.raises(SystemExit):
        command.main([*arguments, "--ship", "mlp+nothing"])
    assert "there is no method mlp+nothing; there are simple, single_wide+" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([*arguments, "--ship", "equal+phi_s", "--estimate-only"])
    assert "does not go with" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([*arguments, "--steps", "0"])
    assert "at least one seed and one step" in capsys.readouterr().err and not any(tmp_path.glob("settings*"))
    with pytest.raises(SystemExit):
        command.main([*arguments, "--zoom", "1.6", "0.7"])
    assert "the least and the largest magnification" in capsys.readouterr().err and not any(tmp_path.glob("settings*"))
    command.main([*arguments, "--ship", "equal+phi_s"])
    assert "ship-student puts it into" in capsys.readouterr().out and not (tmp_path / "report").exists()
    (path,) = (tmp_path / "students").glob("*.safetensors")
    _, card = read_student(path)
    assert card["steps"] == 3 and set(card["data"]["licences"]) == {"ct_aorta"}
    assert {path.parts[-3] for path in (tmp_path / "results").rglob("*.json")} == {"results", "test"}
