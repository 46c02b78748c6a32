"""Test peers of a node: senders and storage SCPs."""

import contextlib
import socket
import threading
import time

from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from monai_agglo.node import Limits, Peer, Retry, ServeConfig
from monai_agglo.pacs.dimse import quiet, store

SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"
EXPLICIT = "1.2.840.10008.1.2.1"
LOCAL = "127.0.0.1"


class Pacs:
    """A storage SCP that keeps received objects; ``status`` is its answer, ``delay_s`` its delay in seconds."""

    def __init__(self, port=0, classes=(SEG, SR), ssl_context=None, title="PACS", calling=("AGGLO",)):
        quiet()
        self.got, self.status, self.delay_s = [], 0x0000, 0.0
        ae = AE(title)
        ae.require_calling_aet, ae.require_called_aet = list(calling), True
        contexts = [build_context(uid, [EXPLICIT]) for uid in classes]
        handlers = [(evt.EVT_C_STORE, self._store)]
        self.server = ae.start_server(
            (LOCAL, port), block=False, evt_handlers=handlers, contexts=contexts, ssl_context=ssl_context
        )
        self.port = self.server.server_address[1]

    def _store(self, event):
        time.sleep(self.delay_s)
        status = self.status(event) if callable(self.status) else self.status
        if status == 0:
            ds = event.dataset
            ds.file_meta = event.file_meta
            self.got.append(ds)
        return status

    def stop(self):
        self.server.shutdown()

    def of(self, uid):
        """Received objects that refer to an instance."""
        return [ds for ds in self.got if uid in str(ds)]


def free_port():
    with socket.socket() as found:
        found.bind((LOCAL, 0))
        return found.getsockname()[1]


def config(tmp_path, bundle, port, **changes):
    """A configuration with short timeouts; ``limits`` and ``retry`` override single values."""
    limits = {"free_mb": 1, "network_s": 5, "seconds": 60, "memory_mb": 8192} | changes.pop("limits", {})
    retry = {"first_s": 0.2, "longest_s": 1} | changes.pop("retry", {})
    values = {
        "ae_title": "AGGLO", "spool": str(tmp_path / "spool"), "accept": (Peer("SENDER", LOCAL),),
        "send_to": Peer("PACS", LOCAL, port), "port": 0, "bundle": str(bundle), "device": "cpu", "results": ("seg",),
        "limits": Limits(**limits), "retry": Retry(**retry),
    }  # fmt: skip
    return ServeConfig(**values | changes)


def send(files, port, own="SENDER", title="AGGLO", **options):
    """Send files; returns the statuses."""
    return [answer.status for answer in store(files, Peer(title, LOCAL, port), own, timeout_s=120, **options)]


def wait_for(condition, seconds=60):
    """Wait until a condition is true; returns its value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"timeout after {seconds} s"
        time.sleep(0.05)
    return found


def uid_of(path):
    return str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


@contextlib.contextmanager
def deaf_peer():
    """A port that accepts connections and never answers."""
    listener = socket.create_server((LOCAL, 0))
    taken, ended = [], threading.Event()

    def accept():
        while not ended.is_set():
            with contextlib.suppress(OSError):
                taken.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.close()
        for sock in taken:
            sock.close()
