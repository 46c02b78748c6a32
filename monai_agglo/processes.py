"""Child processes that answer lines of JSON with lines of JSON, and a pool of them for independent tasks.

Each is a fresh interpreter. multiprocessing's spawn would import the caller's main module in every worker: under
``python -m monai.bundle`` that is all of MONAI, which takes longer than the work, and a script without
``if __name__ == "__main__"`` would start itself again. A child ends when its input ends, also when its parent is
killed. Used by phantom data sets, ``predict --workers``, the DICOM node and the benchmark.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

__all__ = ["ChildDiedError", "JsonProcess", "function_process", "run_tasks", "serve_lines", "usable_processors"]

START = "import sys; sys.path[:] = filter(None, sys.path); from {module} import work; work(sys.argv[1])"
"""Code of a worker; the working directory is not searched for modules."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ChildDiedError(RuntimeError):
    """A child that ended without an answer, or was killed because its answer took too long."""


def usable_processors() -> int:
    """Number of processors available to this process."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Windows, macOS
        return os.cpu_count() or 1


class JsonProcess:
    """A child process, in a group of its own.

    Args:
        arguments: of the Python interpreter.
        threads: of numerical libraries; those of the environment when None.
        stderr: where its messages go; those of this process when None.
        environment: further variables.
        answered: called in a thread of its own with this object after each answer, and when the child ends.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        threads: int | None = None,
        stderr: int | IO | None = None,
        environment: Mapping[str, str] | None = None,
        answered: Callable[[JsonProcess], None] | None = None,
    ) -> None:
        limits = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            encoding="utf-8", env={**os.environ, **limits, **(environment or {})}, start_new_session=True,
        )  # fmt: skip
        self._answered = answered
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the child is running."""
        return self.process.poll() is None

    def send(self, content: Any) -> None:
        """Write a line; a child that is gone shows in :meth:`answer`."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(content) + "\n")
            self.process.stdin.flush()

    def answer(self, seconds: float | None = None) -> Any:
        """Wait for the next answer.

        Args:
            seconds: kill the child after so long; None waits.

        Returns:
            Its content.

        Raises:
            ChildDiedError: the child ended, or was killed for lateness.
        """
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.kill()
            raise ChildDiedError(f"it exceeded the time limit of {seconds:.0f} s") from None
        if line is None:
            code = self.process.wait()
            self.kill()
            raise ChildDiedError(f"its process ended ({_how(code)})")
        return json.loads(line)

    def ask(self, content: Any, seconds: float | None = None) -> Any:
        """:meth:`send`, then :meth:`answer`."""
        self.send(content)
        return self.answer(seconds)

    def close(self, seconds: float = 0.5) -> None:
        """End the child's input, and kill it when it has not ended after some seconds."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End the child and whatever it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        except AttributeError:  # Windows
            self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError), self.process.stdout as lines:
            for line in lines:
                self._answers.put(line)
                if self._answered is not None:
                    self._answered(self)
        self._answers.put(None)
        if self._answered is not None:
            self._answered(self)


def _how(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def serve_lines(handle: Callable[[Any], Any]) -> None:
    """The child's side: answer lines until the input ends, in the middle of a task too.

    Args:
        handle: gives the answer to a content; it must not raise.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a stray print must not look like an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it ends our input
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        answers.write(json.dumps(handle(json.loads(lines.get()))) + "\n")
        answers.flush()


def function_process(function: Callable[[Any], Any], threads: int = 1, **options: Any) -> JsonProcess:
    """A child that calls a function for each line, and answers ``error`` (None when there is none) and ``value``.

    Args:
        function: defined at the top level of a module; its argument and value are JSON-able.
        threads: of numerical libraries.
        options: further arguments of :class:`JsonProcess`.
    """
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = ["-c", START.format(module=__name__), f"{function.__module__}:{function.__name__}"]
    return JsonProcess(arguments, threads, environment={"PYTHONPATH": path}, **options)


def work(target: str) -> None:
    """Main loop of :func:`function_process`.

    Args:
        target: ``module:function``.
    """
    import cv2

    cv2.setNumThreads(int(os.environ.get(THREAD_VARIABLES[0], "1")))
    module, name = target.split(":")
    function = getattr(import_module(module), name)

    def handle(content: Any) -> dict[str, Any]:
        try:
            return {"error": None, "value": function(content)}
        except Exception as problem:
            known = isinstance(problem, (RuntimeError, ValueError, OSError))
            return {"error": f"{problem}" if known else repr(problem), "value": None}

    serve_lines(handle)


def run_tasks(
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    processes: int | None = None,
    *,
    desc: str = "",
    unit: str = "it",
    progress: bool = True,
) -> None:
    """Call a function for each task, with a progress bar.

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
    from tqdm import tqdm

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
        waiting, answered = iter(tasks), queue.SimpleQueue[JsonProcess]()
        workers = [function_process(function, answered=answered.put) for _ in range(processes)]
        try:
            for worker, task in zip(workers, waiting):
                worker.send(task)
            for _ in tasks:
                worker = answered.get()
                try:
                    error = worker.answer()["error"]
                except ChildDiedError as problem:
                    error = f"a worker died: {problem}; if memory is short, use fewer processes"
                if error is not None:
                    raise RuntimeError(error)
                bar.update()
                for task in waiting:
                    worker.send(task)
                    break
        finally:
            for worker in workers:
                worker.close()
