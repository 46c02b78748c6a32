"""The queue on disk: crash safety, duplicates, limits."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from app_samples import write_cine

from monai_agglo.cine.identity import pseudonym
from monai_agglo.node.spool import Spool, SpoolFullError, digest_of

UID = "1.2.3.4"


@pytest.fixture
def spool(tmp_path):
    found = Spool(tmp_path / "spool", 3, 1)
    yield found
    found.close()


def part(spool, content=b"one"):
    path = spool.root / "receiving" / f"{os.urandom(4).hex()}.part"
    path.write_bytes(b"\0" * 128 + b"DICM" + content)
    return path


def again(spool):
    """The queue as opened by a new process."""
    spool.close()
    return Spool(spool.root, spool.queue, spool.free_bytes)


def through(spool, files=("seg.dcm",)):
    """Process one cine up to its results."""
    (job,) = spool.jobs()
    folder = spool.begin(job, 1)
    for name in (*files, "scratch.txt"):
        (folder / name).write_bytes(b"result")
    spool.finish(job, folder, list(files))
    return spool.results()[0]


def test_life_cycle_of_a_cine(spool):
    assert spool.add(part(spool), UID, "SENDER") == "queued"
    (job,) = spool.jobs()
    assert (job.key, job.attempts, job.ae_title) == (pseudonym(UID), 0, "SENDER")
    folder = through(spool)
    assert not spool.jobs() and sorted(os.listdir(folder)) == ["job.json", "seg.dcm"]
    spool.sent(folder)
    assert spool.counts() == {"incoming": 0, "outgoing": 0, "failed": 0, "refused": 0}
    assert not [path for path in spool.root.rglob("*") if UID in path.name]


def test_duplicates_are_recognised_in_every_state(spool):
    spool.add(part(spool), UID, "A")
    for station in ("waiting", "segmented", "sent"):
        assert spool.add(part(spool), UID, "A") == "duplicate", station
        assert spool.add(part(spool, b"two"), UID, "A") == "conflict", station
        if station == "waiting":
            folder = through(spool)
        elif station == "segmented":
            spool.sent(folder)
    assert not list((spool.root / "receiving").iterdir()) and not spool.jobs()
    spool.tidy(0)
    assert spool.add(part(spool), UID, "A") == "queued"


def test_digest_ignores_file_meta_information(tmp_path):
    one = write_cine(tmp_path / "a.dcm", frames=2)
    other = tmp_path / "b.dcm"
    data = one.read_bytes()
    length = int.from_bytes(data[140:144], "little")
    title = b"\x02\x00\x16\x00AE\x06\x00SENDER"
    meta = data[132:140] + (length + len(title)).to_bytes(4, "little") + data[144 : 144 + length] + title
    other.write_bytes(data[:132] + meta + data[144 + length :])
    assert digest_of(one) == digest_of(other)
    other.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert digest_of(one) != digest_of(other)


def test_limits(spool):
    for number in range(3):
        spool.add(part(spool, bytes([number])), f"1.{number}", "A")
    with pytest.raises(SpoolFullError, match="queue is full"):
        spool.add(part(spool), "1.9", "A")
    assert len(spool.jobs()) == 3
    spool.free_bytes = 1 << 60
    through_one = spool.jobs()[0]
    spool.fail(through_one, "bad")
    with pytest.raises(SpoolFullError, match="MB are free"):
        spool.add(part(spool), "1.9", "A")


def test_one_process_at_a_time(spool):
    with pytest.raises(ValueError, match="another process uses"):
        Spool(spool.root, 3, 1)


def test_failed_cine_is_kept_and_can_be_sent_again(spool):
    spool.add(part(spool), UID, "A")
    spool.fail(spool.jobs()[0], "it is damaged")
    kept = spool.root / "failed" / f"{pseudonym(UID)}.dcm"
    assert kept.exists() and json.loads(kept.with_suffix(".json").read_text())["reason"] == "it is damaged"
    assert spool.add(part(spool, b"mended"), UID, "A") == "queued"
    assert not kept.exists() and len(spool.jobs()) == 1


def test_retry_of_refused_and_failed_objects(spool):
    spool.add(part(spool), "1.1", "A")
    spool.refuse(through(spool), "0xA900")
    spool.add(part(spool), "1.2", "A")
    spool.fail(spool.jobs()[0], "late")
    assert spool.counts()["refused"] == spool.counts()["failed"] == 1
    assert spool.add(part(spool), "1.1", "A") == "duplicate"
    assert spool.retry() == 2
    assert len(spool.jobs()) == len(spool.results()) == 1 and spool.jobs()[0].attempts == 0


def test_restart_keeps_queued_and_drops_partial_objects(spool):
    spool.add(part(spool), UID, "A")
    part(spool)
    spool.begin(spool.jobs()[0], 2)
    spool = again(spool)
    (job,) = spool.jobs()
    assert job.attempts == 2
    assert not list((spool.root / "receiving").iterdir()) and not list((spool.root / "work").iterdir())
    spool.close()


def test_restart_before_the_cine_is_removed(spool):
    """Its results are already in ``outgoing``, so it is not segmented again."""
    spool.add(part(spool), UID, "A")
    copies = {path: path.read_bytes() for path in (spool.root / "incoming").iterdir()}
    through(spool)
    for path, content in copies.items():
        path.write_bytes(content)
    spool = again(spool)
    assert not spool.jobs() and len(spool.results()) == 1
    spool.close()


def test_restart_before_sent_results_are_removed(spool):
    spool.add(part(spool), UID, "A")
    folder = through(spool)
    copy = spool.root / "copy"
    shutil.copytree(folder, copy)
    spool.sent(folder)
    copy.rename(folder)
    spool = again(spool)
    assert not spool.results()
    spool.close()


def test_killed_writer_loses_no_object(tmp_path):
    """A process that adds objects is killed repeatedly: every reported object is in the queue."""
    script = (
        "import sys, os; from pathlib import Path; from monai_agglo.node.spool import Spool\n"
        "spool = Spool(sys.argv[1], 10**6, 1); start = int(sys.argv[2])\n"
        "for n in range(start, start + 10**6):\n"
        "    part = spool.root / 'receiving' / f'{n}.part'; part.write_bytes(b'x' * 5000)\n"
        "    spool.add(part, f'1.{n}', 'A'); print(n, flush=True)\n"
    )
    reported = []
    for start in (0, 10_000):
        command = [sys.executable, "-c", script, str(tmp_path / "spool"), str(start)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        reported += [int(process.stdout.readline()) for _ in range(15)]
        process.kill()
        reported += [int(line) for line in process.stdout.read().split()]
        process.wait()
        time.sleep(0.05)
    spool = Spool(tmp_path / "spool", 10, 1)
    keys = {job.key for job in spool.jobs()}
    assert {pseudonym(f"1.{n}") for n in reported} <= keys
    assert len(keys) <= len(reported) + 2
    spool.close()


def test_patient_of_a_study(spool):
    assert spool.patient_of("study", "one") == "one"
    assert spool.patient_of("study", "two") == "one"
