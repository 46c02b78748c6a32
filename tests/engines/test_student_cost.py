"""The benchmark of a further student's cost, in small; and what was published of it."""

import json
from pathlib import Path

import pytest

from monai_agglo.networks.teachers.small import RANDOM_TEACHERS

ROOT = Path(__file__).parents[2]


def test_benchmark_in_small(tmp_path, monkeypatch):
    from experiments.costs import student_cost as benchmark

    output = tmp_path / "students.json"
    options = ["--teachers", *RANDOM_TEACHERS, "--size", "128", "--batch", "4", "--patients", "2", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", ["student_cost.py", *options, "--threads", "1", "--output", str(output)])
    benchmark.main()
    report = json.loads(output.read_text())
    times = report["iteration_ms"]
    assert list(times) == ["1", "2", "3"] and 0 < report["itself_ms"] < times["1"] < times["3"]
    assert report["shared_ms"] == pytest.approx(times["1"] - report["itself_ms"])
    wanted = (times["3"] - times["1"]) / 2 / report["itself_ms"]
    assert report["further_student_over_itself"] == pytest.approx(wanted)
    assert report["iterations"] == 2  # 8 training frames in batches of 4, once
    assert [path.name for path in tmp_path.iterdir()] == ["students.json"]


def test_published_figure_meets_its_target():
    path = ROOT / "docs" / "results" / "students.json"
    if not path.is_file():
        pytest.skip("the benchmark has not been run: python -m experiments.costs.student_cost")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["iterations"] >= 10 and "256 px, batch 16" in report["students_are"]
    assert report["further_student_over_itself"] <= report["target"] == 1.1
