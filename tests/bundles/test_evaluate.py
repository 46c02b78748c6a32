"""The evaluation's figures, in one process and gathered from two under torchrun; training under torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_agglo.handlers import command_line
from monai_agglo.metrics import DICE_IS
from monai_agglo.swallow import TARGET_NAMES

from .running import run


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A frame store for both evaluations."""
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="module")
def report(clone, tiny_data, frames, tmp_path_factory):
    """The report of one process."""
    out = tmp_path_factory.mktemp("one")
    small = {"dataset_dir": str(tiny_data), "output_dir": str(out), "cache_dir": str(frames), "image_size": 48}
    run(clone / "bundles" / "vfss_seg", "train", "evaluate", bundle_root=str(clone / "bundles" / "vfss_seg"), **small)
    return json.loads((out / "vfss_seg.json").read_text())


def test_report_has_the_agreed_form(report):
    assert report["dice_is"] == DICE_IS and report["data"] == "tiny, test part"
    assert report["patients"] == 3 and report["seed"] is None and report["command"]
    assert list(report["per_structure"]) == list(TARGET_NAMES)
    rows = report["per_structure"]
    assert {rows[name]["frames"] for name in TARGET_NAMES[:-1]} == {9}
    assert rows["bolus"]["frames"] == 6  # absent from the middle frame of three
    assert rows["bolus"]["false_positive_area_pct"] is not None and rows["c1"]["false_positive_area_pct"] is None
    assert all(0 <= row["dice"] <= 1 for row in rows.values())
    assert report["mean_dice"] == pytest.approx(sum(row["dice"] for row in rows.values()) / 12, abs=1e-4)
    low, high = report["mean_dice_ci95"]
    assert 0 < low <= report["mean_dice"] <= high < 0.9  # random weights
    assert len(report["weights_sha256"]) == 64


def test_default_data_are_held_out(clone):
    """100 patients of a seed that no training uses, all of them in the test part."""
    from monai.bundle import ConfigParser

    folder = clone / "bundles" / "vfss_seg" / "configs"
    parser = ConfigParser(ConfigParser.load_config_files([str(folder / "train.json"), str(folder / "evaluate.json")]))
    parser.parse()
    wanted = {"data_seed": 9, "patients": 100, "frames": 12, "splits": [0, 0, 1]}
    assert {key: parser.get_parsed_content(key) for key in ("data_seed", "patients", "frames")} == {
        key: wanted[key] for key in ("data_seed", "patients", "frames")
    }
    assert parser.get("dataset#splits") == wanted["splits"] and parser.get("part") == "test"
    for files in (["train.json"], ["train.json", "from_scratch.json"]):
        train = ConfigParser(ConfigParser.load_config_files([str(folder / name) for name in files]))
        train.parse()
        assert train.get_parsed_content("data_seed") != 9


def test_command_line(monkeypatch):
    program = str(Path("x", "monai", "bundle", "__main__.py"))
    monkeypatch.setattr(sys, "argv", [program, "run", "--config_file", "['a.json','b.json']", "--x", "two words"])
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert command_line() == "python -m monai.bundle run --config_file \"['a.json','b.json']\" --x 'two words'"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command_line().startswith("torchrun --standalone --nproc_per_node=2 -m monai.bundle run --config_file ")


def test_two_processes(clone, tiny_data, frames, report, tmp_path):
    """torchrun with gloo: training, going on with it, and an evaluation that equals that of one process."""
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    environment["PYTHONPATH"] = str(script.parents[2])
    log = ""
    for stage in ("train", "resume", "evaluate"):
        done = subprocess.run(
            [*command, stage, str(tiny_data), str(frames), str(tmp_path)],
            cwd=clone, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        log += done.stdout + done.stderr
        assert done.returncode == 0, log[-4000:]
    both = json.loads((tmp_path / "vfss_seg.json").read_text())
    assert both["patients"] == 3  # of an odd number of cines: one is handed out twice and counts once
    for key in ("mean_dice", "false_positive_area_pct"):
        assert both[key] == pytest.approx(report[key], abs=1e-4)
    for name, row in report["per_structure"].items():
        assert both["per_structure"][name] == pytest.approx(row, abs=1e-4, nan_ok=True)
    assert log.count("report in") == 1  # the first process only
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["engine"]["iteration"] == 2 * state["engine"]["epoch_length"] and "resuming after step" in log
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    assert best.keys() == torch.load(clone / "bundles/vfss_seg/models/model.pt", weights_only=True).keys()
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]
    # after an epoch the processes hold the same weights and the same average
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
