"""The segmenting process: limits, crashes, and errors without identity."""

import json
import subprocess
import sys
import time

import pytest
from app_samples import write_cine
from peers import config, wait_for
from pydicom import dcmread

from monai_agglo.cine.identity import pseudonym
from monai_agglo.node import child
from monai_agglo.node.audit import Audit
from monai_agglo.node.segmenting import ChildDiedError, SegmentingChild, Worker
from monai_agglo.node.spool import Spool

STAND_IN = """
import json, os, signal, sys, time
print(json.dumps({"ready": True}), flush=True)
sys.stdin.readline()
for line in sys.stdin:
    job = json.loads(line)
    what = open(job["file"], "rb").read().decode()
    if what == "hang": time.sleep(100)
    if what == "die": os.kill(os.getpid(), signal.SIGSEGV)
    if what == "full": reply = {"kind": "disk", "error": "the disk is full"}
    elif what == "bad": reply = {"kind": "input", "error": "it is damaged"}
    else:
        open(os.path.join(job["folder"], "seg.dcm"), "w").write(str(os.getpid()))
        reply = {"files": ["seg.dcm"], "study": "study", "patient": what.split()[-1]}
    print(json.dumps(reply), flush=True)
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Start a worker with a real child process that acts by the content of its files instead of segmenting."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(SegmentingChild, "arguments", [str(tmp_path / "stand_in.py")])
    running = []

    def start(*contents, **limits):
        spool = Spool(tmp_path / "spool", 100, 1)
        for number, content in enumerate(contents):
            part = spool.root / "receiving" / "x.part"
            part.write_text(content)
            spool.add(part, f"1.{number}", "SENDER")
        worker = Worker(config(tmp_path, "unused", 1, limits=limits), spool, Audit(spool.root / "audit.jsonl"))
        worker.start()
        running.append((worker, spool))
        return spool

    yield start
    for worker, spool in running:
        worker.stop()
        worker.join(10)
        spool.close()


def reasons(spool):
    return {path.stem: json.loads(path.read_text())["reason"] for path in (spool.root / "failed").glob("*.json")}


def test_failures_do_not_stop_other_cines(work, caplog):
    spool = work("hang", "die", "bad", "ok one", seconds=1, attempts=2)
    wait_for(lambda: spool.counts()["failed"] == 3)
    wait_for(lambda: len((spool.root / "audit.jsonl").read_text().splitlines()) == 4)
    found = reasons(spool)
    assert found[pseudonym("1.0")] == "it exceeded the time limit of 1 s, 2 times"
    assert found[pseudonym("1.1")] == "its process ended (SIGSEGV), 2 times"
    assert found[pseudonym("1.2")] == "it is damaged"
    assert [folder.name for folder in spool.results()] == [pseudonym("1.3")]
    lines = [json.loads(line) for line in (spool.root / "audit.jsonl").read_text().splitlines()]
    assert sorted((line["object"], line["result"].split(":")[0]) for line in lines) == sorted(
        [(pseudonym(f"1.{n}"), "failed") for n in range(3)] + [(pseudonym("1.3"), "ok")]
    )


def test_study_of_two_patients(work):
    spool = work("ok one", "ok two", "ok one")
    wait_for(lambda: spool.counts()["incoming"] == 0)
    assert list(reasons(spool).items()) == [
        (pseudonym("1.1"), "its study belongs to another patient: one of them has a wrong study UID or patient id")
    ]
    assert len(spool.results()) == 2


def test_full_disk_waits(work, caplog):
    spool = work("full")
    wait_for(lambda: "segmentation waits for free space" in caplog.text)
    time.sleep(0.3)
    (job,) = spool.jobs()
    assert job.attempts == 0 and caplog.text.count("segmentation waits") == 1


def test_process_is_replaced_after_the_configured_number_of_cines(work):
    spool = work("ok", "ok", "ok", "ok", jobs=2)
    wait_for(lambda: len(spool.results()) == 4)
    pids = [(folder / "seg.dcm").read_text() for folder in spool.results()]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_process_ends_with_its_parent(tmp_path):
    """The real child process; stdin is closed before heavy imports."""
    command = [sys.executable, "-m", "monai_agglo.node.child"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit differs on other systems")
def test_limits_hold():
    script = (
        "from monai_agglo.node.child import limit; import resource; limit(256)\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "import numpy\n"
        "try: numpy.ones(400 << 20, 'uint8'); print('no limit')\n"
        "except MemoryError: print('limited')"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "limited", result.stderr


def job(path, tmp_path, uid=None):
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    return {"file": str(path), "folder": str(folder), "object": pseudonym(uid or str(dcmread(path).SOPInstanceUID))}


def test_answers(random_bundle, tmp_path):
    setup = {"bundle": str(random_bundle), "device": "cpu", "results": ["seg", "sr"], "any_view": False}
    cine = write_cine(tmp_path / "cine.dcm", StudyDate="20240102", AccessionNumber="ACC7")
    whole = cine.read_bytes()
    found = child.answer(job(cine, tmp_path), setup)
    assert found["files"] == ["seg.dcm", "sr.dcm"], found
    for name in found["files"]:
        result, source = dcmread(tmp_path / "folder" / name), dcmread(cine)
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
            assert result[keyword].value == source[keyword].value
        assert source.SOPInstanceUID in str(result)
    assert "Zaphodson" not in json.dumps(found) and str(source.StudyInstanceUID) not in json.dumps(found)

    wrong = child.answer(job(cine, tmp_path, "1.2.3"), setup)
    assert wrong["kind"] == "input" and wrong["error"].startswith("its SOP Instance UID differs")
    asked = job(cine, tmp_path)
    for damaged in (whole[:-5000], whole[:400], b"", b"\0" * 5000, whole[:2000] + bytes(3000) + whole[5000:600]):
        cine.write_bytes(damaged)
        answer = child.answer(asked, setup)
        assert answer["kind"] in ("input", "unexpected") and len(answer["error"]) > 10
        assert not [text for text in ("Zaphodson", "ID4711", str(cine), "Traceback") if text in answer["error"]]


def test_dead_process_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(SegmentingChild, "arguments", ["-c", "raise SystemExit(3)"])
    with pytest.raises(ChildDiedError, match="its process ended .exit code 3"):
        SegmentingChild(config(tmp_path, "unused", 1)).start()
