"""Results written by hand: who is chosen, and why."""

import pytest
from study_samples import tiny_settings

from experiments.agglo_study.cells import with_seeds
from experiments.agglo_study.choice import choose
from experiments.agglo_study.plan import grid, teachers_of
from experiments.agglo_study.runner import Study

KEPT = {"mlp_stable": (0.10, 0.36), "tchebycheff": (0.18, 0.32), "equal": (0.16, 0.30)}
"""R2 of both teachers; 0.2 and 0.4 alone."""


@pytest.fixture
def study(tiny_data, tmp_path):
    return Study(tiny_settings(best=2), tiny_data, tmp_path, log=lambda text: None)


def write_results(study, gains):
    """Everything that the choice reads: a method's Dice is 0.5 on every validation image, and its gains."""
    cells = [cell.at(steps=steps) for cell in grid(study.settings) for steps in (2, 4)]
    for cell in with_seeds(cells, study.settings.seeds):
        teachers = teachers_of(cell, study.settings)
        kept = dict(zip(("wide", "coarse"), KEPT.get(cell.method, (0.2, 0.4))))
        study.store.put(study.distil_key(cell), {"retention": {t: {"r2": kept[t]} for t in teachers}})
        for stage in ("screen", "val"):
            for task in study.probed:
                images = task.indices("val")
                own = gains.get(cell.method, (0.0,))
                dice = [0.5 + own[place % len(own)] for place in range(len(images))]
                probes = {"frozen-all": {"dice": dice, "sources": [task.sources[i] for i in images]}}
                study.store.put(study.probe_key(stage, cell, task), {"probes": probes})


def test_of_those_that_are_alike_the_one_with_the_best_worst_teacher(study):
    write_results(study, {"mlp_stable": (0.2, -0.19), "equal": (-0.3,)})
    found = choose(study)
    rows = {row["cell"].split("+")[0]: row for row in found["ranking"]}
    assert found["ranking"][0]["cell"].startswith("mlp_stable")  # ahead, by luck
    assert rows["mlp_stable"]["worst_teacher_retention_ratio"] == pytest.approx(0.5)
    assert rows["tchebycheff"]["worst_teacher_retention_ratio"] == pytest.approx(0.8)
    assert found["chosen"].startswith("tchebycheff") and "kept most of its worst teacher" in found["by"]
    assert study.choice().method == "tchebycheff"
    assert [cell.method for cell in study.other_students()] == ["tchebycheff", "simple"]


def test_what_is_clearly_worse_is_not_chosen_for_its_memory(study):
    write_results(study, {"mlp_stable": (0.2,), "equal": (-0.3,)})
    found = choose(study)
    assert found["chosen"].startswith("mlp_stable")
    assert found["ranking"][0]["over_the_best"] == {"mean": 0.0, "ci95": [0.0, 0.0]}
    assert all(row["over_the_best"]["ci95"][1] < 0 for row in found["ranking"][1:])


def test_a_choice_is_not_made_again(study):
    write_results(study, {"mlp_stable": (0.2,)})
    assert study.choice().method == "mlp_stable"
    write_results(study, {"equal": (0.4,)})
    assert study.choice().method == "mlp_stable"


def test_no_choice_before_the_finals(study):
    write_results(study, {})
    study.store.path(study.probe_key("val", study.finalists()[0].at(seed=1), study.probed[0])).unlink()
    with pytest.raises(RuntimeError, match="finals are not complete"):
        study.choice()
    assert not (study.folder / "choice.json").exists()
