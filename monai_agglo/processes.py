"""Independent tasks on several processes, with a progress bar.

Each worker is a fresh interpreter. multiprocessing's spawn would import the caller's main module in every worker: under
``python -m monai.bundle`` that is all of MONAI, which takes longer than the work, and a script without
``if __name__ == "__main__"`` would start itself again. Tasks are lines of JSON. A worker ends when its input
does, also when the caller is killed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

__all__ = ["run_tasks", "usable_processors"]

START = "import sys; sys.path[:] = filter(None, sys.path); from {module} import work; work(sys.argv[1])"
"""What a worker runs; the working directory is not searched for modules."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def usable_processors() -> int:
    """Number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Windows, macOS
        return os.cpu_count() or 1


def run_tasks(
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    processes: int | None = None,
    *,
    desc: str = "",
    unit: str = "it",
    progress: bool = True,
) -> None:
    """Call a function for each task.

    Args:
        function: defined at the top level of a module of this package.
        tasks: its arguments, JSON-able.
        processes: how many; None for one per processor. One, or one task, runs here without another process.
        desc, unit: texts of the progress bar.
        progress: show the bar.

    Raises:
        ValueError: when ``processes`` is not positive.
        RuntimeError: the message of the first error in a worker; tasks that have not started are dropped.
        Exception: the first error itself, when the tasks run here.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"processes is a number from 1, not {processes}")
    processes = min(processes or usable_processors(), len(tasks))
    pace = 0.1 if sys.stderr.isatty() else 30.0  # in a log, a line now and then
    with tqdm(total=len(tasks), desc=desc, unit=unit, mininterval=pace, disable=not progress or not tasks) as bar:
        if processes <= 1:
            for task in tasks:
                function(task)
                bar.update()
            return
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        finished: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        workers = [_Worker(f"{function.__module__}:{function.__name__}") for _ in range(processes)]
        try:
            for worker in workers:
                threading.Thread(target=worker.serve, args=(waiting, finished), daemon=True).start()
            for _ in tasks:
                error = finished.get()
                if error is not None:
                    raise RuntimeError(error)
                bar.update()
        finally:
            for worker in workers:
                worker.stop()


class _Worker:
    """One interpreter that runs tasks; what it prints goes to stderr, its stdout carries the answers."""

    def __init__(self, target: str):
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format(module=__name__), target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.tasks, self.answers = self.process.stdin, self.process.stdout

    def serve(self, waiting: queue.SimpleQueue, finished: queue.SimpleQueue) -> None:
        """Run tasks until none waits; runs in a thread of the caller."""
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self.tasks.write(json.dumps(task) + "\n")
                self.tasks.flush()
                answer = self.answers.readline()
            except (OSError, ValueError):  # its pipes are closed
                answer = ""
            if not answer:
                code = self.process.wait()
                finished.put(f"a worker process ended with code {code}; if memory is short, use fewer processes")
                return
            finished.put(json.loads(answer)["error"])

    def stop(self) -> None:
        """End the process; a task that is still running is cut off, which its own clean-up must bear."""
        self.tasks.close()
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait()
        self.answers.close()


def work(target: str) -> None:
    """Main loop of a worker.

    Args:
        target: ``module:function``.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a stray print must not look like an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's business; it closes our input
    import cv2

    cv2.setNumThreads(1)
    module, name = target.split(":")
    function = getattr(import_module(module), name)
    for line in sys.stdin:
        error = None
        try:
            function(json.loads(line))
        except Exception as problem:
            error = f"{problem}" if isinstance(problem, (RuntimeError, ValueError, OSError)) else repr(problem)
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()
