"""Delivery of results to the peer, with retries."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monai_agglo.files import sync
from monai_agglo.pacs.dimse import PeerError, StoreAnswer, store

from .audit import Audit
from .config import ServeConfig
from .spool import Spool
from .tls import client_context

__all__ = ["Backoff", "Sender"]

logger = logging.getLogger(__name__)
_AT_ONCE = 50
"""Largest number of cines per association."""


@dataclass
class Backoff:
    """Exponential backoff.

    Args:
        first_s: first wait in seconds, doubled after each failure.
        longest_s: longest wait in seconds.
        failures: number of consecutive failures.
        until: monotonic time of the next attempt, seconds.
    """

    first_s: float
    longest_s: float
    failures: int = 0
    until: float = 0.0

    def failed(self) -> float:
        """Record a failure.

        Returns:
            The wait until the next attempt in seconds.
        """
        seconds = min(self.longest_s, self.first_s * 2 ** min(self.failures, 40))
        self.failures += 1
        self.until = time.monotonic() + seconds
        return seconds

    @property
    def waiting(self) -> float:
        """Seconds until the next attempt, at least 0."""
        return max(0.0, self.until - time.monotonic())


class Sender(threading.Thread):
    """Sends queued results to the configured peer.

    Args:
        config: settings of the node.
        spool: the queue.
        audit: the audit log.

    Raises:
        ConfigError: the TLS files of the peer cannot be used.
    """

    def __init__(self, config: ServeConfig, spool: Spool, audit: Audit) -> None:
        super().__init__(name="sending", daemon=True)
        self._config, self._spool, self._audit = config, spool, audit
        self._peer = config.send_to
        self._tls = client_context(self._peer.tls) if self._peer.tls else None
        self._stopping = threading.Event()
        self._backoff = self._new_backoff()
        self._objects: dict[str, Backoff] = {}

    def _new_backoff(self) -> Backoff:
        return Backoff(self._config.retry.first_s, self._config.retry.longest_s)

    def stop(self) -> None:
        """Stop; unsent results stay in the queue."""
        self._stopping.set()
        self._spool.finished.set()

    def run(self) -> None:
        """Send until :meth:`stop`."""
        while not self._stopping.is_set():
            try:
                wait = self._next()
            except Exception as error:
                wait = self._backoff.failed()
                logger.error("sending is suspended: %s; next attempt in %.0f s", type(error).__name__, wait)
            if wait:
                self._spool.finished.wait(wait)
                self._spool.finished.clear()

    def _next(self) -> float:
        """Run one association; returns the wait until the next one in seconds."""
        if self._backoff.waiting:
            return min(1.0, self._backoff.waiting)
        folders = [folder for folder in self._spool.results() if not self._waiting(folder)]
        # results that fail repeatedly must not delay the others
        folders.sort(key=lambda folder: self._objects[folder.name].failures if folder.name in self._objects else 0)
        folders = folders[:_AT_ONCE]
        if not folders:
            return 1.0
        files = [file for folder in folders for file in sorted(folder.glob("*.dcm"))]
        current: list[Path] = []
        try:
            for answer in self._store(files, current) if files else ():
                self._answered(answer)
                if self._stopping.is_set():
                    return 0
        except PeerError as error:
            wait = self._backoff.failed()
            if current and current[-1].exists():
                self._objects.setdefault(current[-1].parent.name, self._new_backoff()).failed()
            who = f"{self._peer.ae_title} ({self._peer.address}:{self._peer.port})"
            waiting = len(self._spool.results())
            logger.warning("%s: %s; results of %d cines wait, next attempt in %.0f s", who, error, waiting, wait)
            return min(1.0, wait)
        self._backoff = self._new_backoff()
        for folder in folders:
            if folder.is_dir() and not any(folder.glob("*.dcm")):
                self._spool.sent(folder)
                self._objects.pop(folder.name, None)
        return 0

    def _store(self, files: list[Path], current: list[Path]) -> Iterator[StoreAnswer]:
        peer = self._peer
        return store(
            files,
            peer,
            self._config.ae_title,
            tls=self._tls,
            tls_name=(peer.tls.hostname or peer.address) if peer.tls else None,
            timeout_s=self._config.limits.network_s,
            before=current.append,
        )

    def _waiting(self, folder: Path) -> bool:
        return folder.name in self._objects and self._objects[folder.name].waiting > 0

    def _answered(self, answer: StoreAnswer) -> None:
        folder = answer.path.parent
        if not folder.is_dir() or not answer.path.exists():  # moved because another file was refused
            return
        name, what = folder.name, answer.path.stem
        if answer.stored:
            answer.path.unlink()
            sync(folder)
            self._audit.write("sent", name, self._peer.ae_title, f"{what}: stored{answer.remark}")
            if answer.remark:
                logger.warning("object %s: %s stored %s%s", name, self._peer.ae_title, what, answer.remark)
        elif answer.again:
            wait = self._objects.setdefault(name, self._new_backoff()).failed()
            logger.warning(
                "object %s: %s cannot accept %s now: %s; next attempt in %.0f s",
                name, self._peer.ae_title, what, answer.reason, wait,
            )  # fmt: skip
        else:
            logger.error("object %s: %s refuses %s: %s", name, self._peer.ae_title, what, answer.reason)
            self._audit.write("sent", name, self._peer.ae_title, f"{what}: refused: {answer.reason}")
            self._spool.refuse(folder, f"{what}: {answer.reason} {answer.comment}".strip())
            self._objects.pop(name, None)
