"""Where tasks run: on the processes of a local pool, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from .work import quiet_worker, segment_task

__all__ = ["ENGINES", "PoolEngine", "RayEngine", "TaskEngine", "load_ray"]

ENGINES = ("pool", "ray")
LOST = {"error": "its worker was killed", "again": True, "lost": True}


class TaskEngine(Protocol):
    """Runs tasks.

    Attributes:
        name: for the summary.
    """

    name: str

    @property
    def slots(self) -> int:
        """Tasks that are worth submitting at a time."""
        ...

    def submit(self, task: str) -> None:
        """Start a task (JSON) as soon as there is room."""
        ...

    def wait(self) -> list[tuple[str, dict[str, Any]]]:
        """Wait until at least one task has ended; gives the tasks that did, and what became of them."""
        ...

    def close(self) -> None:
        """Let go of the workers; a task that still runs is cut off."""
        ...


class PoolEngine:
    """Processes on this computer, each an executor of its own: one that dies takes no other with it.

    Args:
        setup: what is the same for all tasks, as JSON.
        workers: processes.
        threads: per process.
    """

    name = "pool"

    def __init__(self, setup: str, workers: int, threads: int) -> None:
        self._workers = workers
        self._setup, self._threads = setup, threads
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[Future, tuple[str, ProcessPoolExecutor]] = {}
        self._pids: dict[ProcessPoolExecutor, Future[int]] = {}

    @property
    def slots(self) -> int:
        return self._workers

    def submit(self, task: str) -> None:
        executor = self._idle.pop() if self._idle else self._start()
        try:
            future = executor.submit(segment_task, self._setup, task)
        except BrokenProcessPool:  # it was killed while it was idle
            executor = self._start()
            future = executor.submit(segment_task, self._setup, task)
        self._busy[future] = task, executor

    def wait(self) -> list[tuple[str, dict[str, Any]]]:
        ended = []
        for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
            task, executor = self._busy.pop(future)
            try:
                ended.append((task, future.result()))
                self._idle.append(executor)
            except BrokenProcessPool:
                self._pids.pop(executor, None)
                executor.shutdown(wait=False)
                ended.append((task, dict(LOST)))
        return ended

    def close(self) -> None:
        for executor, pid in self._pids.items():
            if executor not in self._idle and pid.done() and pid.exception() is None:
                with contextlib.suppress(OSError):
                    os.kill(pid.result(), signal.SIGTERM)
            executor.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(1, _context(), quiet_worker, (self._threads, dict(os.environ)))
        self._pids[executor] = executor.submit(os.getpid)
        return executor


def _context() -> Any:
    """How workers are started: never as copies of this process, whose numerical libraries have threads and locks.

    Where there is one, a server forks them that has imported everything and done nothing: a worker starts at once, and
    what was imported lies in memory once.
    """
    import multiprocessing

    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monai_agglo.prediction.run"])
    return context


def load_ray(address: str | None) -> Any:
    """Ray, told to keep to itself.

    Args:
        address: of a running cluster; None for one on this computer.

    Raises:
        ImportError: when it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about a hospital leaves it
    if address is None:  # Ray's name for a cluster of one computer, which listens on the loopback only
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise ImportError("ray is not installed; install the extra: pip install 'monai-agglo[ray]'") from None
    return ray


class RayEngine:
    """Tasks on a Ray cluster: a running one, or one on this computer that lives as long as the run.

    Args:
        setup: what is the same for all tasks, as JSON.
        address: of a running cluster, ``auto`` for the one of this computer; None starts one.
        workers: processors of a cluster that is started here.
        gpus: per task.

    Raises:
        ImportError: when Ray is not installed.
        ConnectionError: when there is no cluster at the address.
    """

    name = "ray"

    def __init__(self, setup: str, address: str | None, workers: int, gpus: float) -> None:
        self._ray = ray = load_ray(address)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            options |= {"num_cpus": workers, "include_dashboard": False}
        else:
            options["address"] = address
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConnectionError(f"no Ray cluster answers at {address or 'this computer'}: {error}") from None
        # Who tries again is the run, for the pool in the same way: its summary counts the attempts.
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)
        self._task = remote(segment_task)
        self._setup = ray.put(setup)
        self._running: dict[Any, str] = {}

    @property
    def slots(self) -> int:
        """Tasks that run or wait on the cluster, which may grow and shrink meanwhile."""
        return max(1, 2 * int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, task: str) -> None:
        self._running[self._task.remote(self._setup, task)] = task

    def wait(self) -> list[tuple[str, dict[str, Any]]]:
        ended = []
        for reference in self._ray.wait(list(self._running), num_returns=1)[0]:
            task = self._running.pop(reference)
            try:
                ended.append((task, self._ray.get(reference)))
            except self._ray.exceptions.RayError:  # the process or its computer is gone
                ended.append((task, dict(LOST)))
        return ended

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()
