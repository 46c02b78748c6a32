"""Delivery of results to unreachable, silent, full and refusing peers."""

import json
import socket
import time

import pytest
from app_samples import XA, write_cine
from peers import LOCAL, Pacs, config, deaf_peer, free_port, uid_of, wait_for
from pydicom.dataset import Dataset

from monai_agglo.node.audit import Audit
from monai_agglo.node.sending import Backoff, Sender
from monai_agglo.node.spool import Spool


@pytest.fixture
def sending(tmp_path):
    """Start a sender with a number of results (XA files); returns (spool, uids)."""
    running = []

    def start(port, results=1, **changes):
        settings = config(tmp_path, "unused", port, **changes)
        spool = Spool(settings.spool, 100, 1)
        uids = [waiting(spool, tmp_path, number) for number in range(results)]
        sender = Sender(settings, spool, Audit(spool.root / "audit.jsonl"))
        sender.start()
        running.append((sender, spool))
        return spool, uids

    def stop():
        while running:
            sender, spool = running.pop()
            sender.stop()
            sender.join(10)
            spool.close()

    start.stop = stop
    yield start
    stop()


def waiting(spool, tmp_path, number):
    part = spool.root / "receiving" / "x.part"
    part.write_bytes(b"cine %d" % number)
    spool.add(part, f"1.{number}", "SENDER")
    (job,) = spool.jobs()
    folder = spool.begin(job, 1)
    path = write_cine(folder / "seg.dcm", frames=2, rows=16, columns=16, seed=number)
    uid = uid_of(path)
    spool.finish(job, folder, ["seg.dcm"])
    return uid


def audit(spool):
    return [json.loads(line) for line in (spool.root / "audit.jsonl").read_text().splitlines()]


def test_exponential_backoff():
    backoff = Backoff(5, 600)
    assert [backoff.failed() for _ in range(9)] == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert 599 < backoff.waiting <= 600
    assert Backoff(5, 600, failures=10**6).failed() == 600


def test_all_results_are_delivered(sending):
    pacs = Pacs(classes=(XA,))
    spool, uids = sending(pacs.port, 5)
    wait_for(lambda: len(list((spool.root / "done").iterdir())) == 5)
    assert [ds.SOPInstanceUID for ds in pacs.got] == uids
    assert {(line["step"], line["ae"], line["result"]) for line in audit(spool)} == {("sent", "PACS", "seg: stored")}
    wait_for(lambda: spool.counts()["outgoing"] == 0)
    pacs.stop()


def test_dead_peer_comes_back(sending, caplog):
    port = free_port()
    spool, uids = sending(port, 3)
    wait_for(lambda: caplog.text.count("cannot be reached") >= 2)
    assert spool.counts()["outgoing"] == 3
    pacs = Pacs(port, classes=(XA,))
    wait_for(lambda: spool.counts()["outgoing"] == 0)
    assert sorted(ds.SOPInstanceUID for ds in pacs.got) == sorted(uids)
    pacs.stop()


def test_stopped_and_started_again(sending):
    spool, uids = sending(free_port(), 2)
    sending.stop()
    pacs = Pacs(classes=(XA,))
    spool, _ = sending(pacs.port, 0)
    wait_for(lambda: spool.counts()["outgoing"] == 0)
    assert sorted(ds.SOPInstanceUID for ds in pacs.got) == sorted(uids)
    pacs.stop()


def test_deaf_peer(sending, caplog):
    """The peer accepts the connection and does not answer."""
    with deaf_peer() as port:
        spool, _ = sending(port, 1, limits={"network_s": 1})
        wait_for(lambda: caplog.text.count("does not answer") >= 2)
        assert spool.counts()["outgoing"] == 1


def test_peer_that_hangs_over_an_object(sending, caplog):
    pacs = Pacs(classes=(XA,))
    pacs.delay_s = 3
    spool, uids = sending(pacs.port, 1, limits={"network_s": 1})
    wait_for(lambda: "did not answer in time" in caplog.text or "hung up" in caplog.text)
    pacs.delay_s = 0
    wait_for(lambda: spool.counts()["outgoing"] == 0)
    assert {ds.SOPInstanceUID for ds in pacs.got} == set(uids)  # possibly twice: only the answer was lost
    pacs.stop()


def test_peer_that_stops_reading(sending, caplog, tmp_path):
    """The peer stops reading after the association: sending must time out."""
    from pynetdicom import evt

    pacs = Pacs(classes=(XA,))
    pacs.server.bind(evt.EVT_ACCEPTED, lambda event: time.sleep(6))
    settings = config(tmp_path, "unused", pacs.port, limits={"network_s": 1})
    spool = Spool(settings.spool, 100, 1)
    part = spool.root / "receiving" / "x.part"
    part.write_bytes(b"cine")
    spool.add(part, "1.1", "SENDER")
    folder = spool.begin(spool.jobs()[0], 1)
    write_cine(folder / "seg.dcm", frames=80, rows=256, columns=256)
    spool.finish(spool.jobs()[0], folder, ["seg.dcm"])
    sender = Sender(settings, spool, Audit(spool.root / "audit.jsonl"))
    sender.start()
    try:
        wait_for(lambda: "hung up" in caplog.text or "did not answer" in caplog.text, 20)
        assert spool.counts()["outgoing"] == 1
    finally:
        sender.stop()
        sender.join(15)
        spool.close()
        pacs.stop()


def test_refused_results_are_logged_and_kept(sending, caplog):
    refusal = Dataset()
    refusal.Status, refusal.ErrorComment = 0xA900, "Zaphodson^Trillian is not ours"
    pacs = Pacs(classes=(XA,))
    pacs.status = lambda event: refusal
    spool, _ = sending(pacs.port, 2)
    wait_for(lambda: spool.counts()["refused"] == 2)
    assert "PACS refuses seg: " in caplog.text and "0xA900" in caplog.text
    assert [line["result"].startswith("seg: refused: ") for line in audit(spool)] == [True, True]
    assert "Zaphodson" not in caplog.text + (spool.root / "audit.jsonl").read_text()
    (kept, _) = (spool.root / "refused").iterdir()
    assert (kept / "seg.dcm").exists() and "not ours" in (kept / "job.json").read_text()
    assert spool.counts()["outgoing"] == 0
    pacs.stop()


def test_unsupported_sop_class(sending):
    pacs = Pacs(classes=("1.2.840.10008.5.1.4.1.1.12.2",))
    spool, _ = sending(pacs.port, 1)
    time.sleep(1)
    assert spool.counts() == {"incoming": 0, "outgoing": 1, "refused": 0, "failed": 0}
    pacs.stop()


def test_full_peer_is_retried(sending, caplog):
    pacs = Pacs(classes=(XA,))
    pacs.status = 0xA700
    spool, uids = sending(pacs.port, 2)
    wait_for(lambda: caplog.text.count("cannot accept seg now") >= 4)
    assert spool.counts() == {"incoming": 0, "outgoing": 2, "refused": 0, "failed": 0}
    pacs.status = 0
    wait_for(lambda: spool.counts()["outgoing"] == 0)
    assert sorted(ds.SOPInstanceUID for ds in pacs.got) == sorted(uids)
    pacs.stop()


def test_rejected_association(sending, caplog):
    pacs = Pacs(classes=(XA,), calling=("SOMEBODY",))
    spool, _ = sending(pacs.port, 1)
    wait_for(lambda: "calling ae title not recognised" in caplog.text)
    assert spool.counts()["outgoing"] == 1
    pacs.stop()


def test_warning_counts_as_stored(sending, caplog):
    pacs = Pacs(classes=(XA,))
    pacs.status = 0xB000
    spool, _ = sending(pacs.port, 1)
    wait_for(lambda: spool.counts()["outgoing"] == 0 and list((spool.root / "done").iterdir()))
    assert "with a warning" in caplog.text and "0xB000" in audit(spool)[0]["result"]
    pacs.stop()


def test_unknown_host_name(sending, caplog):
    from monai_agglo.node import Peer

    spool, _ = sending(1, 1, send_to=Peer("PACS", "no-such-host.invalid", 104))
    wait_for(lambda: "its address cannot be resolved" in caplog.text, 30)
    assert spool.counts()["outgoing"] == 1
    assert socket.gethostbyname(LOCAL) == LOCAL
