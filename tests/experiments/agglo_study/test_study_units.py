import multiprocessing
import os
import signal
import time

import pytest

from experiments.agglo_study.units import Unit, UnitStore


def write_line(path):
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.05)
    return {"value": 1}


def work(folder, calls):
    UnitStore(folder, poll_s=0.05).run([Unit(f"a/{n}", lambda: write_line(calls)) for n in range(6)], lambda text: None)


def hang(folder, started):
    def forever():
        started.touch()
        time.sleep(60)

    UnitStore(folder).run([Unit("slow", forever)], lambda text: None)


def test_results_are_kept(tmp_path):
    store, said = UnitStore(tmp_path), []
    units = [Unit("a/b", lambda: {"value": 2})]
    store.run(units, said.append)
    found = store.get("a/b")
    assert found["value"] == 2 and found["cpu_seconds"] >= 0 and store.finished() == ["a/b"]
    store.run([Unit("a/b", lambda: 1 / 0)], said.append)  # not done again
    assert len(said) == 1 and store.get("a/c") is None


def test_a_failed_unit_leaves_nothing(tmp_path):
    store = UnitStore(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.run([Unit("x", lambda: {"value": 1 / 0})])
    assert store.finished() == []
    store.run([Unit("x", lambda: {"value": 1})], lambda text: None)


def test_processes_share_the_work(tmp_path):
    context = multiprocessing.get_context("fork")
    calls = tmp_path / "calls"
    processes = [context.Process(target=work, args=(tmp_path / "store", calls)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = calls.read_text().splitlines()
    assert len(lines) == 6 and len(UnitStore(tmp_path / "store").finished()) == 6


def test_a_killed_process_frees_its_unit(tmp_path):
    context, started = multiprocessing.get_context("fork"), tmp_path / "started"
    process = context.Process(target=hang, args=(tmp_path, started))
    process.start()
    while not started.exists():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    store = UnitStore(tmp_path, poll_s=0.05)
    assert store.get("slow") is None
    store.run([Unit("slow", lambda: {"value": 3})], lambda text: None)
    assert store.get("slow")["value"] == 3


def test_a_damaged_result_is_named(tmp_path):
    store = UnitStore(tmp_path)
    store.put("x", {})
    store.path("x").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        store.get("x")


def test_a_unit_waits_for_what_it_needs(tmp_path):
    store, done = UnitStore(tmp_path, poll_s=0.01), []

    def unit(key, *needs):
        return Unit(key, lambda: {"place": done.append(key) or len(done)}, needs)

    store.run([unit("c", "b", "a"), unit("b", "a"), unit("a")], lambda text: None)
    assert done == ["a", "b", "c"]
    store.run([unit("d", "a")], lambda text: None)  # there from before
    with pytest.raises(ValueError, match="e needs x, y, which nobody does"):
        store.run([unit("e", "a", "x", "y")])


def test_what_somebody_does_is_not_forgotten(tmp_path):
    store = UnitStore(tmp_path)
    store.put("x", {})
    store.forget("x", lambda: False)
    assert store.finished() == ["x"]

    def work():
        store.put("y", {})
        UnitStore(tmp_path).forget("y", lambda: True)
        assert store.get("y") == {}
        return {}

    store.run([Unit("y", work)], lambda text: None)
    store.forget("y", lambda: True)
    store.forget("z", lambda: True)
    assert store.finished() == ["x"]
