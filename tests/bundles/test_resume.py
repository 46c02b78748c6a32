"""kill -9 in the middle of a training, run again with --resume: the same weights, and the same MLflow run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from monai_agglo.handlers import git_revision, run_name

from .running import TINY, run

EPOCHS = 4


def started(clone, data, output, log):
    """The documented line, from the clone's folder, with options that make it small."""
    line = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "bundles/vfss_seg/configs/train.json"]
    options = {**TINY, "epochs": EPOCHS, "dataset_dir": data, "output_dir": output, "start_from_weights": False}
    for key, value in options.items():
        line += [f"--{key}", str(value).replace(" ", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, cwd=clone, stdout=log, stderr=log, env=environment)


def tracked(output):
    """All runs in the MLflow file of an output folder."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{output / 'mlruns.db'}")
    return client.search_runs([client.get_experiment_by_name("vfss_seg").experiment_id])


def test_killed_and_resumed_equals_uninterrupted(at_clone, clone, tiny_data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    small = {**TINY, "epochs": EPOCHS, "dataset_dir": str(tiny_data), "start_from_weights": False}
    run(at_clone, "train", output_dir=str(whole), track=False, **small)

    # Killed as soon as a checkpoint of the middle of an epoch is there.
    checkpoint, deadline = broken / "checkpoint.pt", time.monotonic() + 400
    with open(tmp_path / "log", "w") as log:
        process = started(clone, tiny_data, broken, log)
        while process.poll() is None and time.monotonic() < deadline:
            if checkpoint.exists() and torch.load(checkpoint, weights_only=True)["engine"]["iteration"] >= 8:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()[-3000:]
    assert "INFO" in (tmp_path / "log").read_text()  # configs/logging.conf is in force
    saved = torch.load(checkpoint, weights_only=True)
    total = EPOCHS * saved["engine"]["epoch_length"]
    assert 0 < saved["engine"]["iteration"] < total
    assert not (broken / "model_final.pt").exists()
    (before,) = tracked(broken)
    assert before.info.status == "RUNNING"

    run(at_clone, "train", output_dir=str(broken), resume=True, **small)
    ends = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, broken)]
    assert ends[0]["engine"] == ends[1]["engine"] == {**saved["engine"], "iteration": total}
    for name in ("network", "average"):
        first, second = (end["objects"][name] for end in ends)
        first, second = first.get("averaged", first), second.get("averaged", second)
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    final = [torch.load(folder / "model_final.pt", weights_only=True) for folder in (whole, broken)]
    assert all(torch.equal(final[0][key], final[1][key]) for key in final[0])

    # the killed run went on and ended; no second one was opened
    (record,) = tracked(broken)
    assert record.info.run_id == before.info.run_id and record.info.status == "FINISHED"
    assert record.info.run_name == (broken / "run_name.txt").read_text().strip()
    parameters, metrics = record.data.params, record.data.metrics
    assert parameters["git_revision"].removesuffix("-dirty") == git_revision().removesuffix("-dirty")
    assert {
        "train_data_hash",
        "validate_data_hash",
        "seed",
        "lr",
        "monai_version",
        "torch_version",
    } <= parameters.keys()
    assert {"val_mean_dice", "dice/bolus", "dice/c4", "train_loss"} <= metrics.keys()
    identity = {str(Path(tiny_data)), "tiny-0", "cine0"}
    assert not any(word in str(value) for word in identity for value in parameters.values())

    run(at_clone, "train", output_dir=str(broken), resume=True, **small)  # finished already: nothing new
    (record,) = tracked(broken)
    assert record.info.status == "FINISHED"


def test_run_names_are_unique(tmp_path):
    names = {run_name(tmp_path) for _ in range(20)}
    assert len(names) == 20
    assert run_name(tmp_path, resume=True) in names
