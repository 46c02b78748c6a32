import os
from collections import Counter
from pathlib import Path

import pytest

from experiments.benchmark import interleave as turns
from experiments.benchmark.interleave import Candidate, measure_interleaved


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    )


def candidate(name, log, repeats=3, threads=1, **options):
    return Candidate(name, "bench_cases:make", {"name": name, "log": str(log), **options}, threads, repeats)


def test_candidates_take_turns(tmp_path):
    log, said = tmp_path / "log", []
    rows = measure_interleaved([candidate("a", log), candidate("b", log, repeats=2)], 60, said.append)
    calls = log.read_text().split()
    assert Counter(calls) == {"a": 3, "b": 2}
    assert calls[:4] == ["a", "b", "b", "a"], "each round has every one, and another one begins"
    assert [len(row.repeats) for row in rows] == [3, 2] and len(said) == 3


def test_summary_is_of_a_unit_and_names_threads(tmp_path):
    rows = measure_interleaved([candidate("a", tmp_path / "log", pause=0.05, threads=2)], 60, print)
    found = rows[0].summary()
    assert 25 <= found["ms"] < 2000 and found["per_s"] == pytest.approx(1000 / found["ms"])
    assert found["ms_quartiles"][0] <= found["ms"] <= found["ms_quartiles"][1]
    assert found["cpu_ms"] < found["ms"] and found["threads_variable"] == "2" and found["weights"] == "none"


def test_short_cases_are_repeated_within_a_repeat(tmp_path):
    log = tmp_path / "log"
    (row,) = measure_interleaved([candidate("a", log, repeats=1, pause=0.02, once=False)], 60, print)
    assert 1 < row.repeats[0]["calls"] <= 64
    assert len(log.read_text().split()) == 2 + row.repeats[0]["calls"], "two warm it up"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be taken anew here")
def test_peak_memory_is_a_case_s_own(tmp_path):
    ballast = bytearray(300 << 20)  # of this process: not inherited
    ballast[::4096] = b"\1" * len(ballast[::4096])
    small, large = measure_interleaved(
        [candidate("small", tmp_path / "log"), candidate("large", tmp_path / "log", ballast_mb=100)], 60, print
    )
    assert small.summary()["peak_mb"] < 100
    assert 95 < large.summary()["peak_mb"] - small.summary()["peak_mb"] < 130


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("make", "the runtime is not installed (pip install it)"),
        ("run", "RuntimeError: out of luck"),
        ("kill", "its process ended (SIGKILL)"),
    ],
)
def test_a_failure_gets_its_reason_and_the_others_go_on(tmp_path, when, reason):
    broken = Candidate("broken", "bench_cases:broken", {"when": when})
    rows = measure_interleaved([broken, candidate("a", tmp_path / "log")], 60, print)
    assert rows[0].summary() == {"reason": reason}
    assert rows[1].summary()["repeats"] == 3


def test_when_the_time_is_over_two_repeats_are_enough(tmp_path):
    (row,) = measure_interleaved([candidate("a", tmp_path / "log", repeats=50)], 0, print)
    assert len(row.repeats) == 2


def test_a_candidate_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "LONGEST_S", 2)
    rows = measure_interleaved([candidate("a", tmp_path / "log", pause=60)], 60, print)
    assert rows[0].summary() == {"reason": "it exceeded the time limit of 2 s"}
