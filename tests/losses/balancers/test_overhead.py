"""The benchmark of the balancers' cost, in small; and what was published of it."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_benchmark_in_small(tmp_path, monkeypatch):
    from experiments.costs import balancer_overhead as benchmark

    monkeypatch.setattr(benchmark, "WARM_UP", 0)
    output = tmp_path / "balancers.json"
    options = ["--teachers", "mobilenet_v3", "dinov2_small", "--size", "32", "--batch", "2", "--repeats", "1"]
    monkeypatch.setattr("sys.argv", ["balancer_overhead.py", *options, "--threads", "1", "--output", str(output)])
    benchmark.main()
    report = json.loads(output.read_text())
    assert report["step_ms"] > 0 and all(one["overhead"] > 0 and one["ms"] > 0 for one in report["balancers"].values())
    needs = {one["needs"] for one in report["balancers"].values()}
    assert needs == {"losses", "pooled features", "shared map"}
    of_losses = [one["overhead"] for one in report["balancers"].values() if one["needs"] == "losses"]
    assert report["largest_of_those_that_use_losses_only"] == max(of_losses) and len(of_losses) == 15
    assert [path.name for path in tmp_path.iterdir()] == ["balancers.json"]


def test_published_figures_meet_their_target():
    path = ROOT / "docs" / "results" / "balancers.json"
    if not path.is_file():
        pytest.skip("the benchmark has not been run: python -m experiments.costs.balancer_overhead")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["repeats"] >= 5 and "256 px, batch 16" in report["step_is"]
    assert report["largest_of_those_that_use_losses_only"] <= report["target"] == 0.02
