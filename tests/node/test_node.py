"""Receiving side of the node, with real associations."""

import json
import logging
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from app_samples import write_cine
from peers import LOCAL, send, uid_of, wait_for
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from monai_agglo.cine.identity import pseudonym
from monai_agglo.node import Peer
from monai_agglo.pacs.dimse import PeerError


def audit(spool):
    path = spool.root / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def stored(spool):
    return sorted((spool.root / "incoming").glob("*.dcm"))


def echo(port, own="SENDER", title="AGGLO", **options):
    ae = AE(own)
    ae.add_requested_context(Verification)
    ae.acse_timeout = ae.dimse_timeout = 10
    assoc = ae.associate(LOCAL, port, ae_title=title, **options)
    if not assoc.is_established:
        return None
    status = assoc.send_c_echo().Status
    assoc.release()
    return status


def test_stored_object_equals_the_sent_one(listening, tmp_path, caplog):
    _, spool, port = listening()
    cine = write_cine(tmp_path / "c.dcm")
    assert echo(port) == 0
    assert send([cine], port) == [0]
    (path,) = stored(spool)
    assert dcmread(path) == dcmread(cine)
    assert path.stem == pseudonym(uid_of(cine)) and path.stat().st_mode & 0o077 == 0
    assert send([cine], port) == [0]
    assert [line["result"] for line in audit(spool)] == ["queued", "duplicate"]
    assert {line["object"] for line in audit(spool)} == {path.stem} and {line["ae"] for line in audit(spool)} == {
        "SENDER"
    }
    everything = (spool.root / "audit.jsonl").read_text() + caplog.text
    ds = dcmread(cine)
    assert not [text for text in ("Zaphodson", "ID4711", str(ds.StudyInstanceUID), uid_of(cine)) if text in everything]


def test_other_object_with_a_known_uid_is_refused(listening, tmp_path):
    _, spool, port = listening()
    cine = write_cine(tmp_path / "c.dcm")
    other = dcmread(cine)
    other.PatientID = "SOMEBODY ELSE"
    other.save_as(tmp_path / "d.dcm")
    assert send([cine, tmp_path / "d.dcm"], port) == [0, 0xC001]
    assert len(stored(spool)) == 1 and dcmread(stored(spool)[0]).PatientID == "ID4711"


def test_two_hundred_objects_concurrently(listening, tmp_path):
    _, spool, port = listening(limits={"network_s": 120})
    cines = [write_cine(tmp_path / f"{n}.dcm", frames=2, rows=16, columns=16, seed=n) for n in range(200)]
    with ThreadPoolExecutor(25) as pool:
        statuses = list(pool.map(lambda start: send(cines[start : start + 8], port), range(0, 200, 8)))
    assert statuses == [[0] * 8] * 25
    assert {path.stem for path in stored(spool)} == {pseudonym(uid_of(cine)) for cine in cines}


@pytest.mark.parametrize(
    ("own", "title", "accept"),
    [
        ("STRANGER", "AGGLO", Peer("SENDER", LOCAL)),
        ("SENDER", "OTHER", Peer("SENDER", LOCAL)),
        ("SENDER", "AGGLO", Peer("SENDER", "192.0.2.1")),
    ],
)
def test_unknown_callers_are_rejected(listening, own, title, accept):
    _, spool, port = listening(accept=(accept,))
    assert echo(port, own, title) is None
    (line,) = wait_for(lambda: audit(spool))
    assert line["step"] == "association" and line["result"].startswith("rejected, 127.0.0.1: ")


def test_ae_title_and_address_must_match(listening):
    _, _, port = listening(accept=(Peer("SENDER", "192.0.2.1"), Peer("LOCAL", LOCAL)))
    assert echo(port, "SENDER") is None
    assert echo(port, "LOCAL") == 0


def test_only_cines_are_accepted(listening, tmp_path):
    _, _, port = listening()
    ct = "1.2.840.10008.5.1.4.1.1.2"
    path = write_cine(tmp_path / "ct.dcm", SOPClassUID=ct)
    ds = dcmread(path)
    ds.file_meta.MediaStorageSOPClassUID = ct
    ds.save_as(path)
    with pytest.raises(PeerError, match="accepts none of the requested"):
        send([path], port)


def test_full_queue(listening, tmp_path, caplog):
    _, spool, port = listening(limits={"queue": 2})
    cines = [write_cine(tmp_path / f"{n}.dcm", frames=2) for n in range(4)]
    with caplog.at_level(logging.INFO):
        assert send(cines, port) == [0, 0, 0xA700, 0xA700]
        assert len([r for r in caplog.records if "out of resources: the queue is full" in r.message]) == 1
        spool.fail(spool.jobs()[0], "made room")
        assert send(cines[2:3], port) == [0]
        assert "space is available again" in caplog.text
    assert not list((spool.root / "receiving").iterdir())


def test_object_too_large(listening, tmp_path):
    _, spool, port = listening(limits={"object_mb": 1})
    big = write_cine(tmp_path / "big.dcm", frames=30, rows=160, columns=160)
    assert big.stat().st_size > 1e6
    assert send([big, write_cine(tmp_path / "small.dcm")], port) == [0xA700, 0]
    assert len(stored(spool)) == 1 and not list((spool.root / "receiving").iterdir())


def test_full_disk(listening, tmp_path, caplog):
    """The disk fills up during an object: it is refused with a status, and smaller objects are accepted."""
    disk = tmp_path / "spool"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        node, spool, port = listening()
        spool.free_bytes = 1 << 16
        big = write_cine(tmp_path / "big.dcm", frames=40, rows=256, columns=256)
        small = write_cine(tmp_path / "small.dcm", frames=2)
        assert send([big, small], port) == [0xA700, 0]
        assert send([big], port) == [0xA700]
        assert len([r for r in caplog.records if "out of resources: the disk fails" in r.message]) == 2
        assert len(stored(spool)) == 1 and not list((spool.root / "receiving").iterdir())
        node.stop()
        spool.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_no_space_left_on_the_disk(listening, tmp_path):
    _, spool, port = listening(limits={"free_mb": 10**9})
    assert send([write_cine(tmp_path / "c.dcm")], port) == [0xA700]
    assert not stored(spool)


def test_silent_malformed_and_aborted_connections(listening, tmp_path):
    _, spool, port = listening(limits={"network_s": 1})
    quiet = socket.create_connection((LOCAL, port))
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(2000), b"\x01\x00\xff\xff\xff\xff" + b"\0" * 500, b""):
        with socket.create_connection((LOCAL, port)) as sock:
            sock.sendall(garbage)
    ae = AE("SENDER")
    ae.dimse_timeout = 3
    ds = dcmread(write_cine(tmp_path / "c.dcm", frames=60, rows=128, columns=128))
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    sent = []

    def disconnect(event):
        sent.append(len(event.data))
        if sum(sent) > 500_000:
            event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    assoc = ae.associate(LOCAL, port, ae_title="AGGLO", evt_handlers=[(evt.EVT_DATA_SENT, disconnect)])
    assert "Status" not in assoc.send_c_store(ds)
    assert send([write_cine(tmp_path / "d.dcm")], port) == [0]
    assert len(stored(spool)) == 1
    quiet.settimeout(20)
    assert quiet.recv(10) in (b"", b"\x07\0\0\0\0\x04\0\0\x02\0")  # closed, or aborted
    quiet.close()
    wait_for(lambda: not list((spool.root / "receiving").iterdir()), 20)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_invalid_uid(listening, tmp_path):
    _, spool, port = listening()
    path = write_cine(tmp_path / "c.dcm")
    ds = dcmread(path)
    ds.file_meta.MediaStorageSOPInstanceUID = "../../etc/passwd"
    ds.save_as(path)
    assert send([path], port) == [0x0117]
    assert not stored(spool) and "passwd" not in (spool.root / "audit.jsonl").read_text()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A self-signed certificate for localhost."""
    folder = tmp_path_factory.mktemp("keys")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs openssl")
    return {"certificate": f"{folder}/cert.pem", "key": f"{folder}/key.pem", "ca": f"{folder}/cert.pem"}


def test_tls(listening, tmp_path, keys):
    from monai_agglo.node import Tls
    from monai_agglo.node.tls import client_context

    tls = Tls(**keys)
    _, spool, port = listening(tls=tls, limits={"network_s": 3})
    silent = socket.create_connection((LOCAL, port))  # must not block the handshakes of others
    cine = write_cine(tmp_path / "c.dcm")
    started = time.monotonic()
    assert send([cine], port, tls=client_context(tls), tls_name=LOCAL) == [0]
    assert time.monotonic() - started < 15 and dcmread(stored(spool)[0]) == dcmread(cine)
    silent.close()
    with pytest.raises(PeerError, match="cannot be reached"):
        send([cine], port)  # without TLS
    with pytest.raises(PeerError):
        send([cine], port, tls=client_context(replace(tls, certificate=None, key=None)), tls_name=LOCAL)
    with pytest.raises(PeerError):
        send([cine], port, tls=client_context(tls), tls_name="another.example")
    assert len(stored(spool)) == 1
