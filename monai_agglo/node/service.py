"""The complete node: queue, listener, worker and sender."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import Any

from .audit import Audit
from .config import ServeConfig, read_config
from .node import Node
from .segmenting import Worker
from .sending import Sender
from .spool import Spool

__all__ = ["Service", "serve"]

logger = logging.getLogger(__name__)
_HOUR_S = 3600


class Service:
    """A running node.

    Args:
        config: settings of the node.

    Raises:
        ConfigError: address, TLS files or bundle cannot be used.
        ValueError: another process uses the spool.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        self.spool = Spool(config.spool, config.limits.queue, config.limits.free_mb << 20)
        try:
            self.audit = Audit(config.audit or self.spool.root / "audit.jsonl")
            self.sender = Sender(config, self.spool, self.audit)
            self.node = Node(config, self.spool, self.audit)
            self.worker = Worker(config, self.spool, self.audit)
        except BaseException:
            self.spool.close()
            raise
        self.port = 0

    def start(self) -> None:
        """Listen, segment and send. The bundle is loaded meanwhile, and cines wait in the queue.

        Raises:
            ConfigError: there is no such bundle, or it cannot be run.
        """
        try:
            self.worker.check()
            self.port = self.node.start()
        except BaseException:
            self.worker.stop()
            self.spool.close()
            raise
        self.worker.start()
        self.sender.start()

    def stop(self) -> None:
        """Stop; the queue stays on disk."""
        self.node.stop()
        self.sender.stop()
        self.worker.stop()
        for thread in (self.worker, self.sender):
            thread.join(timeout=10)
        self.spool.close()


def serve(config: str | os.PathLike | ServeConfig, *, retry_failed: bool = False) -> None:
    """Run a DICOM node until SIGTERM or SIGINT.

    Receives fluoroscopy cines by C-STORE into a queue on disk, segments them in a process with limits, and sends the
    results to the configured peer, with retries. See docs/how-to/pacs.md.

    Args:
        config: configuration file, or the configuration.
        retry_failed: first return failed and refused objects to the queue.

    Raises:
        ConfigError: the configuration is invalid.
        ValueError: another process uses the spool.
    """
    settings = config if isinstance(config, ServeConfig) else read_config(config)
    ended = threading.Event()
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: ended.set())
    _show_log()
    service = Service(settings)
    if retry_failed:
        print(f"{service.spool.retry()} objects returned to the queue", flush=True)
    service.start()
    peer, counts = settings.send_to, service.spool.counts()
    print(
        f"{settings.ae_title} listens at {settings.address} port {service.port}{' with TLS' if settings.tls else ''}, "
        f"results go to {peer.ae_title} ({peer.address}:{peer.port}); waiting: {counts['incoming']} cines, "
        f"{counts['outgoing']} results; to be checked: {counts['failed']} failed, {counts['refused']} refused",
        flush=True,
    )
    tidied = 0.0
    while not ended.wait(1.0):
        if service.worker.failure is not None:
            service.stop()
            raise service.worker.failure
        if time.monotonic() - tidied > _HOUR_S or not tidied:
            tidied = time.monotonic()
            service.spool.tidy(settings.limits.keep_days * 86_400)
    print("stopping; waiting objects stay in the queue", flush=True)
    service.stop()


def _show_log() -> None:
    """Log our own messages to stderr with time stamps."""
    parent = logging.getLogger(__package__)
    if not parent.handlers:
        handler: Any = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        parent.addHandler(handler)
        parent.setLevel(logging.INFO)
        parent.propagate = False
