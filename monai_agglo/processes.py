"""Process pool for independent tasks, with a progress bar.

Each worker is a fresh interpreter that reads tasks as lines of JSON and ends with its input, also when the caller is
killed. ``multiprocessing`` with ``spawn`` would import the caller's main module in every worker: all of MONAI under
``python -m monai.bundle``, and a recursive start for a script without ``if __name__ == "__main__"``.
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
"""Code of a worker; the working directory is not searched for modules."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def usable_processors() -> int:
    """Number of processors available to this process."""
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
        function: top-level function of a module of this package.
        tasks: one JSON-serialisable argument per call.
        processes: number of worker processes, None for one per processor. With 1, or a single task, the tasks run in
            the calling process.
        desc: label of the progress bar.
        unit: unit of the progress bar.
        progress: show the progress bar.

    Raises:
        ValueError: ``processes`` is not positive.
        RuntimeError: a task failed in a worker; carries the first message, pending tasks are dropped.
        Exception: a task failed in the calling process.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1, not {processes}")
    processes = min(processes or usable_processors(), len(tasks))
    pace = 0.1 if sys.stderr.isatty() else 30.0  # seconds between updates; few lines in a log
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
    """An interpreter that runs tasks; its stdout is reserved for the answers, output of the tasks goes to stderr."""

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
        """Run tasks until the queue is empty; called in a thread of the caller."""
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
                finished.put(f"a worker process ended with exit code {code}; if memory is short, use fewer processes")
                return
            finished.put(json.loads(answer)["error"])

    def stop(self) -> None:
        """End the process and interrupt its running task."""
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
    os.dup2(2, 1)  # keep prints of the task out of the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles Ctrl-C and closes our input
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
