"""Segmentation of queued cines in a child process with limits."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from typing import Any

from monai_agglo.locate import find_bundle
from monai_agglo.prediction.runtimes.graphs import BundleNetwork
from monai_agglo.prediction.settings import read_settings
from monai_agglo.processes import ChildDiedError, JsonProcess

from .audit import Audit
from .config import ConfigError, ServeConfig
from .spool import Job, Spool

__all__ = ["ChildDiedError", "SegmentingChild", "Worker"]

logger = logging.getLogger(__name__)
_START_S = 600
_DISK_WAIT_S = 30.0


class SegmentingChild:
    """The process of :mod:`.child`, restarted on demand.

    Args:
        config: bundle, device, results and limits.
    """

    arguments = ["-m", "monai_agglo.node.child"]

    def __init__(self, config: ServeConfig) -> None:
        self._limits = config.limits
        self._setup = {
            "bundle": config.bundle,
            "device": config.device,
            "results": list(config.results),
            "any_view": config.any_view,
            "memory_mb": config.limits.memory_mb,
        }
        self._process: JsonProcess | None = None
        self._jobs = 0

    def start(self) -> None:
        """Start the process and load the bundle.

        Raises:
            ConfigError: the bundle cannot be used.
            ChildDiedError: the process ends or does not answer.
        """
        # stderr goes nowhere: decoders warn there in words of the file
        self._process, self._jobs = JsonProcess(self.arguments, stderr=subprocess.DEVNULL), 0
        reply = self._process.ask(self._setup, _START_S)
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
        if self._process is None or not self._process.alive or self._jobs >= self._limits.jobs:
            self.stop()
            self.start()
        assert self._process is not None
        self._jobs += 1
        return self._process.ask(job, self._limits.seconds)

    def stop(self) -> None:
        """End the process and its children."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()


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
        self.failure: ConfigError | None = None

    def check(self) -> None:
        """Refuse a bundle that is absent or has a wrong configuration; reads its small files only.

        Raises:
            ConfigError: with the reason.
        """
        try:
            folder = find_bundle(self._config.bundle or "vfss_seg")
            BundleNetwork(folder, read_settings(folder))
        except (ValueError, OSError) as error:
            raise ConfigError(f"the bundle cannot be used: {error}") from None

    def stop(self) -> None:
        """Stop; the cine in progress stays in the queue."""
        self._stopping.set()
        self._child.stop()

    def run(self) -> None:
        """Load the bundle, then work until :meth:`stop`."""
        try:
            self._child.start()
        except ConfigError as error:
            self.failure = error
            return
        except ChildDiedError as error:  # the first cine starts another
            logger.error("the bundle could not be loaded: %s", error)
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
