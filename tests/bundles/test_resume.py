"""kill -9 in the middle of a training, run again with --resume: the weights are those of an uninterrupted run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
CONFIG = "bundles/vfss_seg/configs/train.json"


def start(data, output, *extra):
    options = {
        "dataset_dir": str(data), "output_dir": str(output), "cache_dir": str(output.parent / "frames"),
        "image_size": 48, "sizes": "[[1,32],[3,48]]", "epochs": 4, "batch_size": 2, "checkpoint_every": 2,
        "start_from_weights": "False",
    }  # fmt: skip
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", CONFIG]
    for key, value in options.items():
        command += [f"--{key}", str(value)]
    log = open(output.parent / f"{output.name}.log", "a")  # noqa: SIM115
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *extra], cwd=ROOT, stdout=log, stderr=log, env=environment)


def test_killed_and_resumed_equals_uninterrupted(tiny_data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(tiny_data, whole).wait(300) == 0, (tmp_path / "whole.log").read_text()[-3000:]

    # Killed as soon as a checkpoint of the middle of an epoch is there; --track False spares MLflow's start.
    process = start(tiny_data, broken, "--track", "False")
    checkpoint, deadline = broken / "checkpoint.pt", time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoint.exists() and torch.load(checkpoint, weights_only=True)["engine"]["iteration"] >= 4:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, (tmp_path / "broken.log").read_text()[-3000:]
    saved = torch.load(checkpoint, weights_only=True)
    total = 4 * saved["engine"]["epoch_length"]
    assert 0 < saved["engine"]["iteration"] < total
    assert not (broken / "model_final.pt").exists()

    assert start(tiny_data, broken, "--track", "False", "--resume", "True").wait(300) == 0
    log = (tmp_path / "broken.log").read_text()
    assert f"resuming after step {saved['engine']['iteration']} " in log
    ends = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, broken)]
    assert ends[0]["engine"] == ends[1]["engine"] == {**saved["engine"], "iteration": total}
    for name in ("network", "average"):
        first, second = (end["objects"][name] for end in ends)
        first, second = first.get("averaged", first), second.get("averaged", second)
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    final = [torch.load(folder / "model_final.pt", weights_only=True) for folder in (whole, broken)]
    assert all(torch.equal(final[0][key], final[1][key]) for key in final[0])
