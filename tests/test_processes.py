"""Process pool: all tasks run, errors are reported, no worker survives."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from monai_agglo import processes as pool


def write_pid(task):
    """Write the process id to a file. Workers import this module by name."""
    Path(task["path"]).write_text(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}")
    print("a print of a task must not be read as an answer")
    if "fail" in task:
        raise ValueError(task["fail"])
    if "die" in task:
        os._exit(9)
    time.sleep(task.get("sleep", 0))


@pytest.fixture(autouse=True)
def importable_by_workers(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(write_pid, "__module__", "test_processes")


def tasks(folder, count, **more):
    return [{"path": str(folder / str(k)), **more} for k in range(count)]


def ids(folder):
    return [p.read_text().split()[0] for p in folder.iterdir()]


def test_two_processes(tmp_path):
    pool.run_tasks(write_pid, tasks(tmp_path, 4, sleep=0.3), 2, progress=False)
    assert len(ids(tmp_path)) == 4 and len(set(ids(tmp_path))) == 2 and str(os.getpid()) not in ids(tmp_path)
    assert {p.read_text().split()[1] for p in tmp_path.iterdir()} == {"1"}, "one thread per worker"


def test_one_process_runs_in_the_caller(tmp_path):
    pool.run_tasks(write_pid, tasks(tmp_path, 2), 1, progress=False)
    assert set(ids(tmp_path)) == {str(os.getpid())}


def test_first_error_is_raised_and_pending_tasks_are_dropped(tmp_path):
    todo = tasks(tmp_path, 30, sleep=0.05)
    todo[0]["fail"] = "the first one failed"
    with pytest.raises(RuntimeError, match="the first one failed"):
        pool.run_tasks(write_pid, todo, 2, progress=False)
    assert len(ids(tmp_path)) < 30


def test_dead_worker_is_noticed(tmp_path):
    with pytest.raises(RuntimeError, match="exit code 9"):
        pool.run_tasks(write_pid, tasks(tmp_path, 2, die=True), 2, progress=False)


def test_no_tasks():
    pool.run_tasks(write_pid, [], None, progress=False)


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
def test_workers_end_with_a_killed_caller(tmp_path):
    code = (
        "from test_processes import write_pid; from monai_agglo.processes import run_tasks;"
        f"todo = [{{'path': {str(tmp_path)!r} + '/' + str(k), 'sleep': 1}} for k in range(50)];"
        "run_tasks(write_pid, todo, 2, progress=False)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(i) for i in ids(tmp_path) if i]
    assert len(workers) == 2
    caller.kill()
    caller.wait()
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers)) and len(list(tmp_path.iterdir())) < 10


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_no_threads_left(tmp_path):
    before = threading.active_count()
    pool.run_tasks(write_pid, tasks(tmp_path, 3), 2, progress=False)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
