"""Segmentation of queued cines in a child process with limits."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from .audit import Audit
from .config import ConfigError, ServeConfig
from .spool import Job, Spool

__all__ = ["ChildDiedError", "SegmentingChild", "Worker"]

logger = logging.getLogger(__name__)
_START_S = 600
_DISK_WAIT_S = 30.0


class ChildDiedError(RuntimeError):
    """The process ended without an answer, or exceeded the time limit."""


class SegmentingChild:
    """The process of :mod:`.child`, restarted on demand.

    Args:
        config: bundle, device, results and limits.
    """

    command = [sys.executable, "-m", "monai_agglo.node.child"]

    def __init__(self, config: ServeConfig) -> None:
        self._limits = config.limits
        self._setup = {
            "bundle": config.bundle,
            "device": config.device,
            "results": list(config.results),
            "any_view": config.any_view,
            "memory_mb": config.limits.memory_mb,
        }
        self._process: subprocess.Popen | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._jobs = 0

    def start(self) -> None:
        """Start the process and load the bundle.

        Raises:
            ConfigError: the bundle cannot be used.
            ChildDiedError: the process ends or does not answer.
        """
        # stderr is discarded: warnings of decoders may quote the file
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        self._answers, self._jobs = queue.Queue(), 0
        threading.Thread(target=_pump, args=(self._process.stdout, self._answers), daemon=True).start()
        reply = self._ask(self._setup, _START_S)
        if "error" in reply:
            self.stop()
            raise ConfigError(f"the bundle cannot be used: {reply['error']}")

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Segment one cine.

        Args:
            job: see :func:`monai_agglo.node.child.answer`.

        Returns:
            The answer.

        Raises:
            ChildDiedError: the process ended or exceeded the time limit; the next job gets a new process.
        """
        if self._process is None or self._process.poll() is not None or self._jobs >= self._limits.jobs:
            self.stop()
            self.start()
        self._jobs += 1
        return self._ask(job, self._limits.seconds)

    def _ask(self, content: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps(content) + "\n")
            process.stdin.flush()
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise ChildDiedError(f"it exceeded the time limit of {seconds:.0f} s") from None
        except OSError:
            line = None
        if line is None:
            code = process.wait()
            self.stop()
            raise ChildDiedError(f"its process ended ({_how(code)})")
        return json.loads(line)

    def stop(self) -> None:
        """End the process and its children."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        except AttributeError:  # Windows
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _pump(stream: Any, answers: queue.Queue[str | None]) -> None:
    try:
        for line in stream:
            answers.put(line)
    except (OSError, ValueError):
        pass
    answers.put(None)


def _how(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


class Worker(threading.Thread):
    """Segments the queued cines one by one.

    Args:
        config: settings of the node.
        spool: the queue.
        audit: the audit log.
    """

    def __init__(self, config: ServeConfig, spool: Spool, audit: Audit) -> None:
        super().__init__(name="segmenting", daemon=True)
        self._config, self._spool, self._audit = config, spool, audit
        self._child = SegmentingChild(config)
        self._stopping = threading.Event()
        self._full = False

    def prepare(self) -> None:
        """Load the bundle, so that an invalid one is reported before the node listens."""
        self._child.start()

    def stop(self) -> None:
        """Stop; the cine in progress stays in the queue."""
        self._stopping.set()
        self._child.stop()

    def run(self) -> None:
        """Process the queue until :meth:`stop`."""
        while not self._stopping.is_set():
            try:
                wait = self._next()
            except Exception as error:
                if self._stopping.is_set():
                    return
                logger.error("segmentation is suspended: %s", _sentence(error))
                wait = _DISK_WAIT_S
            if wait:
                self._spool.arrived.wait(wait)
                self._spool.arrived.clear()

    def _next(self) -> float:
        """Process one cine; returns the wait until the next one in seconds."""
        jobs = self._spool.jobs()
        if not jobs:
            return 1.0
        job = jobs[0]
        folder = self._spool.begin(job, job.attempts + 1)
        started = time.monotonic()
        try:
            reply = self._child.run({"file": str(job.path), "folder": str(folder), "object": job.key})
        except ChildDiedError as error:
            if self._stopping.is_set():
                self._spool.begin(job, job.attempts)  # not counted as an attempt
                return 0
            if job.attempts + 1 < self._config.limits.attempts:
                logger.warning("object %s: %s; it will be retried", job.key, error)
                return 0
            reply = {"kind": "input", "error": f"{error}, {job.attempts + 1} times"}
        if reply.get("kind") == "disk":
            if not self._full:
                logger.error("the disk is full: segmentation waits for free space")
            self._full = True
            self._spool.begin(job, job.attempts)
            return _DISK_WAIT_S
        self._full = False
        if "error" not in reply:
            owner = self._spool.patient_of(reply["study"], reply["patient"])
            if owner != reply["patient"]:
                reply = {
                    "error": "its study belongs to another patient: one of them has a wrong study UID or patient id"
                }
        if "error" in reply:
            self._fail(job, reply["error"])
            return 0
        self._spool.finish(job, folder, reply["files"])
        seconds = time.monotonic() - started
        logger.info("object %s: segmented in %.1f s", job.key, seconds)
        self._audit.write("segmented", job.key, job.ae_title, f"ok: {', '.join(reply['files'])}")
        return 0

    def _fail(self, job: Job, reason: str) -> None:
        logger.error("object %s cannot be segmented: %s", job.key, reason)
        self._spool.fail(job, reason)
        self._audit.write("segmented", job.key, job.ae_title, f"failed: {reason}")


def _sentence(error: Exception) -> str:
    """Message of our own errors, type of others (their messages may quote a file)."""
    if isinstance(error, (ConfigError, ChildDiedError)):
        return str(error)
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}{f' ({reason})' if reason else ''}"
