"""Round trip through a real PACS; run by test_orthanc.py in Orthanc's network namespace."""

import os
import signal
import subprocess
import sys

import pytest
from app_samples import write_cine
from pydicom import dcmread

from monai_agglo.pacs import DicomWeb, fetch, send
from monai_agglo.pacs.commands import DimseAddress
from monai_agglo.pacs.dimse import PeerError, find, store

ENV = {name: os.environ.get(name, "") for name in ("ORTHANC_URL", "ORTHANC_USER", "ORTHANC_PORT", "ORTHANC_TITLE")}
DIMSE = f"dicom://{ENV['ORTHANC_TITLE']}@127.0.0.1:{ENV['ORTHANC_PORT']}"
PEER = DimseAddress(ENV["ORTHANC_TITLE"] or "X", "127.0.0.1", int(ENV["ORTHANC_PORT"] or 1))
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture
def web():
    return DicomWeb(ENV["ORTHANC_URL"], ENV["ORTHANC_USER"], os.environ["AGGLO_PACS_PASSWORD"])


@pytest.fixture
def cine(tmp_path):
    return write_cine(tmp_path / "cine.dcm", StudyDate="20240102", StudyTime="101500", AccessionNumber="ACC7")


def kinds(web, study):
    return sorted(item["00080016"]["Value"][0] for item in web.find(study))


def test_store_fetch_query(web, cine, tmp_path):
    source = dcmread(cine)
    assert send(ENV["ORTHANC_URL"], [cine], user=ENV["ORTHANC_USER"]) == []
    (path,) = fetch(ENV["ORTHANC_URL"], tmp_path / "web", source.StudyInstanceUID, user=ENV["ORTHANC_USER"])
    assert dcmread(path) == source and source.SOPInstanceUID not in path.name
    (item,) = web.find(source.StudyInstanceUID, Modality="XA")
    assert item["00080018"]["Value"] == [source.SOPInstanceUID]
    assert web.find(source.StudyInstanceUID, Modality="SEG") == []
    moved = fetch(DIMSE, tmp_path / "moved", source.StudyInstanceUID, ae_title="FETCH", port=11113)
    assert [dcmread(path) for path in moved] == [source]
    query = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": str(source.StudyInstanceUID), "PatientID": ""}
    assert [match.PatientID for match in find(PEER, "FETCH", query)] == ["ID4711"]


def test_errors_of_orthanc(web, cine, tmp_path):
    with pytest.raises(ConnectionError, match="HTTP 401: wrong user or password"):
        DicomWeb(ENV["ORTHANC_URL"]).find("1.2.3")
    with pytest.raises(ConnectionError, match="it has no matching instance"):
        web.fetch(tmp_path / "x", "1.2.3.4.5")
    with pytest.raises(
        ConnectionError, match="it could not send any|it has no matching"
    ):  # depends on Orthanc's version
        fetch(DIMSE, tmp_path / "y", "1.2.3.4.5", ae_title="FETCH", port=11113)
    with pytest.raises(PeerError):
        list(store([cine], PEER, "STRANGER"))
    assert list(tmp_path.glob("*/*.dcm")) == []


def test_serve_round_trip(web, cine, random_bundle, tmp_path):
    """C-STORE from Orthanc to the node, kill -9 before segmentation, results stored in the same study."""
    import json

    import requests

    source = dcmread(cine)
    settings = {
        "ae_title": "AGGLO", "port": 11112, "spool": "spool", "bundle": str(random_bundle), "device": "cpu",
        "accept": [{"ae_title": ENV["ORTHANC_TITLE"], "address": "127.0.0.1"}],
        "send_to": {"ae_title": ENV["ORTHANC_TITLE"], "address": "127.0.0.1", "port": int(ENV["ORTHANC_PORT"])},
        "limits": {"free_mb": 1}, "retry": {"first_s": 0.5, "longest_s": 2},
    }  # fmt: skip
    (tmp_path / "serve.json").write_text(json.dumps(settings))
    web.store([cine])
    rest, login = os.environ["ORTHANC_REST"], (ENV["ORTHANC_USER"], os.environ["AGGLO_PACS_PASSWORD"])
    command = [sys.executable, "-m", "monai_agglo", "serve", "--config", str(tmp_path / "serve.json")]

    def start():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "AGGLO listens at 127.0.0.1 port 11112" in process.stdout.readline(), process.stderr.read()
        return process

    node = start()
    try:
        (instance,) = requests.post(f"{rest}/tools/lookup", str(source.SOPInstanceUID), auth=login, timeout=60).json()
        sent = requests.post(f"{rest}/modalities/AGGLO/store", instance["ID"], auth=login, timeout=60)
        assert sent.status_code == 200, sent.text
    finally:
        node.kill()  # after the success status nothing may be lost
        node.wait()
    assert kinds(web, source.StudyInstanceUID) == [str(source.SOPClassUID)]
    node = start()
    try:
        from time import monotonic, sleep

        end = monotonic() + 240
        while len(kinds(web, source.StudyInstanceUID)) < 3:
            assert monotonic() < end and node.poll() is None
            sleep(0.5)
    finally:
        node.send_signal(signal.SIGTERM)
        output, log = node.communicate(timeout=60)
    assert node.returncode == 0 and "waiting objects stay in the queue" in output
    assert kinds(web, source.StudyInstanceUID) == sorted([str(source.SOPClassUID), SEG, SR])
    for path in web.fetch(tmp_path / "back", source.StudyInstanceUID):
        ds = dcmread(path)
        assert (ds.PatientName, ds.PatientID, ds.AccessionNumber) == ("Zaphodson^Trillian", "ID4711", "ACC7")
        assert source.SOPInstanceUID in str(ds)
    audit = (tmp_path / "spool" / "audit.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in audit.splitlines()]
    assert steps == ["received", "segmented", "sent", "sent"]
    hidden = ("Zaphodson", "ID4711", "ACC7", str(source.StudyInstanceUID), str(source.SOPInstanceUID))
    assert not [text for text in hidden if text in audit + output + log]
