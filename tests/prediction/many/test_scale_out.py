"""Many cines on the local pool: a killed worker, bad cines, an interrupted run; the same on a real Ray cluster."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import nibabel as nib
import numpy as np
import pytest
from app_samples import write_cine
from killing_network import with_network

from monai_agglo.__main__ import main
from monai_agglo.cine.cine import open_cine
from monai_agglo.prediction.many import predict_many
from monai_agglo.prediction.run import predict

FILES = ["contact_sheet.png", "masks.nii.gz", "overlay.mp4", "predict.json"]
OPTIONS = {"runtime": "torch", "device": "cpu"}


def masks_in(folder):
    return np.asarray(nib.load(folder / "masks.nii.gz").dataobj)


def folders_in(output):
    return sorted(path for path in output.iterdir() if path.is_dir())


def summary_in(output):
    return json.loads((output / "summary.json").read_text(encoding="utf-8"))


def test_command_line_on_the_pool(studies, tmp_path, random_bundle, capsys):
    """It gives what predict gives; a second run does what is left and nothing else."""
    one = predict(studies, tmp_path / "one", random_bundle, **OPTIONS)
    command = ["predict", str(studies), "--output", str(tmp_path / "many"), "--engine", "pool", "--workers", "2"]
    assert main([*command, "--bundle", str(random_bundle), "--device", "cpu", "--runtime", "torch"]) == 1
    printed = capsys.readouterr().out
    assert printed.count(" ok ") == 4 and printed.count("FAILED") == 2 and "6/6" in printed
    assert "4 of 6 segmented; see" in printed
    assert all(f"failed: {case.error}" in printed for case in one.cases if case.error)
    assert [path.name for path in folders_in(tmp_path / "many")] == [p.name for p in folders_in(tmp_path / "one")]
    for folder in folders_in(tmp_path / "many"):
        assert sorted(path.name for path in folder.iterdir()) == FILES
        np.testing.assert_array_equal(masks_in(folder), masks_in(tmp_path / "one" / folder.name))
    summary = summary_in(tmp_path / "many")
    assert {case["pseudonym"] for case in summary["cases"]} == {
        case["pseudonym"] for case in summary_in(tmp_path / "one")["cases"]
    }
    assert (summary["done"], summary["kept"], summary["failed"], summary["engine"]) == (4, 0, 2, "pool")
    assert (tmp_path / "many" / "index.html").is_file() and "Zaphodson" not in json.dumps(summary)

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "many").rglob("masks.nii.gz")}
    again = predict_many(studies, tmp_path / "many", random_bundle, workers=2, **OPTIONS)
    assert (again.done, again.kept, len(again.failed)) == (0, 4, 2)
    # what is not whole, or older than its cine, is made again
    first, second = folders_in(tmp_path / "many")[:2]
    (first / "masks.nii.gz").unlink()
    record = json.loads((second / "predict.json").read_text())
    (second / "predict.json").write_text(json.dumps({**record, "model": {**record["model"], "weights_sha256": "0"}}))
    again = predict_many(studies, tmp_path / "many", random_bundle, workers=1, **OPTIONS)
    assert (again.done, again.kept) == (2, 2)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "many").rglob("masks.nii.gz")}
    assert {path for path in after if after[path] != before[path]} == {first / "masks.nii.gz", second / "masks.nii.gz"}
    with pytest.raises(ValueError, match="another size; give another folder"):
        predict_many(studies, tmp_path / "many", random_bundle, size=48, **OPTIONS)


def check_taken_over(report, output, tmp_path, random_bundle, studies):
    assert (report.done, len(report.failed), report.lost) == (4, 2, 1)
    assert "1 taken over from killed workers" in str(report) and summary_in(output)["taken_over"] == 1
    assert not list(output.glob(".*.part"))
    for path in studies.glob("study [0-2].dcm"):
        predict(path, tmp_path / "one" / path.stem, random_bundle, **OPTIONS)
        own = open_cine(path).meta["pseudonym"]
        np.testing.assert_array_equal(masks_in(output / own), masks_in(tmp_path / "one" / path.stem))


def test_a_killed_worker_s_cine_is_taken_over(studies, tmp_path, killing_bundle, random_bundle):
    report = predict_many(studies, tmp_path / "out", killing_bundle, workers=2, **OPTIONS)
    assert (tmp_path / "killed").exists()
    check_taken_over(report, tmp_path / "out", tmp_path, random_bundle, studies)


def test_a_cine_that_kills_every_worker_fails_alone(tmp_path, killing_bundle):
    (tmp_path / "in").mkdir()
    for number, rows in enumerate((40, 20, 40)):
        write_cine(tmp_path / "in" / f"{number}.dcm", 3, rows, 48, seed=number)
    bundle = with_network(killing_bundle, "KilledByWideFrames")
    report = predict_many(tmp_path / "in", tmp_path / "out", bundle, workers=2, attempts=2, **OPTIONS)
    assert report.done == 2 and report.lost == 2 and report.exit_code == 1
    (sentence,) = report.failed
    assert sentence == f"{tmp_path / 'in' / '1.dcm'}: its worker was killed (2 times)"
    assert len(folders_in(tmp_path / "out")) == 2
    (error,) = [case["error"] for case in summary_in(tmp_path / "out")["cases"] if case["error"]]
    assert error == "its worker was killed (2 times)"


def workers():
    """Processes of the pool that this process has started."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "monai_agglo.processes" in line]


@pytest.mark.skipif(sys.platform != "linux", reason="ps of Linux lists the children of a process")
def test_killed_from_outside(tmp_path, random_bundle):
    """SIGKILL hits the worker while it writes into its part folder; nothing partial is left."""
    (tmp_path / "in").mkdir()
    write_cine(tmp_path / "in" / "long.dcm", 60, 40, 48)
    killed = []

    def kill():
        end = time.monotonic() + 600
        while time.monotonic() < end and not list((tmp_path / "out").glob(".*.part/*")):
            time.sleep(0.005)
        for pid in workers():
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    report = predict_many(tmp_path / "in", tmp_path / "out", random_bundle, workers=1, **OPTIONS)
    thread.join()
    assert len(killed) == 1 and (report.done, report.lost, report.exit_code) == (1, 1, 0)
    (folder,) = folders_in(tmp_path / "out")
    assert masks_in(folder).shape == (40, 48, 60, 12) and not list((tmp_path / "out").glob(".*.part"))


def test_bad_arguments_are_one_sentence_and_write_nothing(studies, tmp_path, random_bundle, capsys):
    for wrong, words in (
        ({"engine": "slurm"}, "engine is one of"),
        ({"address": "auto"}, "--engine ray"),
        ({"workers": 0}, "workers is a number"),
        ({"keep_identity": True}, "keep-identity"),
    ):
        with pytest.raises(ValueError, match=words):
            predict_many(studies, tmp_path / "out", random_bundle, **wrong)
    base = ["predict", str(studies), "--output", str(tmp_path / "out"), "--bundle", str(random_bundle)]
    for options, words in (
        (["--limits", "0", "1"], "--limits belongs to --follow"),
        (["--follow", "--engine", "pool"], "--engine does not go with --follow"),
        (["--follow", "--dicom-seg"], "--dicom-seg does not go with --follow"),
        (["--query", "StudyDate=2024"], "--query needs --engine"),
        (["--engine", "pool", "--query", "StudyDate"], "KEY=VALUE"),
    ):
        assert main([*base, *options]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_runs_do_not_write_into_one_folder(studies, tmp_path, random_bundle):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".run.lock"), pytest.raises(ValueError, match="another run writes there"):
        predict_many(studies, tmp_path / "out", random_bundle, **OPTIONS)
