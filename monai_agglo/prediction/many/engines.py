"""Task engines: a local pool of processes, or a Ray cluster."""

from __future__ import annotations

import os
import queue
from typing import Any, Protocol

from monai_agglo.processes import ChildDiedError, JsonProcess, function_process

from .work import segment_lines, segment_task

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
        """Number of tasks to submit at a time."""
        ...

    def submit(self, task: str) -> None:
        """Start a task (JSON) as soon as there is room."""
        ...

    def wait(self) -> list[tuple[str, dict[str, Any]]]:
        """Wait until at least one task has ended; returns the ended tasks with their results."""
        ...

    def close(self) -> None:
        """Stop the workers; running tasks are killed."""
        ...


class PoolEngine:
    """Processes on this computer.

    Args:
        setup: settings shared by all tasks, as JSON.
        workers: processes.
        threads: per process.
    """

    name = "pool"

    def __init__(self, setup: str, workers: int, threads: int) -> None:
        self._workers = workers
        self._setup, self._threads = setup, threads
        self._idle: list[JsonProcess] = []
        self._busy: dict[JsonProcess, str] = {}
        self._answered: queue.SimpleQueue[JsonProcess] = queue.SimpleQueue()

    @property
    def slots(self) -> int:
        return self._workers

    def submit(self, task: str) -> None:
        self._idle = [worker for worker in self._idle if worker.alive]  # one may have been killed meanwhile
        worker = self._idle.pop() if self._idle else self._start()
        self._busy[worker] = task
        worker.send({"setup": self._setup, "task": task})

    def wait(self) -> list[tuple[str, dict[str, Any]]]:
        ended: list[tuple[str, dict[str, Any]]] = []
        while not ended:
            worker = self._answered.get()
            if worker not in self._busy:  # it died while it was idle
                continue
            task = self._busy.pop(worker)
            try:
                answer = worker.answer()
                ended.append((task, answer["value"] or {"error": answer["error"], "again": False}))
                self._idle.append(worker)
            except ChildDiedError:
                ended.append((task, dict(LOST)))
        return ended

    def close(self) -> None:
        for worker in (*self._idle, *self._busy):
            worker.kill() if worker in self._busy else worker.close()

    def _start(self) -> JsonProcess:
        return function_process(segment_lines, self._threads, answered=self._answered.put)


def load_ray(address: str | None) -> Any:
    """Ray, with usage statistics switched off.

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
        setup: settings shared by all tasks, as JSON.
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
