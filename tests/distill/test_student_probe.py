"""Students on somebody's own pictures: figures are paired, kept in a file, and shown."""

import json
from pathlib import Path

import pytest
from test_picture_task import write_pair

from monai_agglo.__main__ import main
from monai_agglo.distill.probes.probe import ProbeSettings
from monai_agglo.distill.student_probe import UNTAUGHT, probe_student, probe_table
from monai_agglo.networks import StudentEncoder, write_student

SHORT = ProbeSettings(steps=40, tuned_steps=2, batch=4, lr=2e-2, channels=8)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures") / "bars"
    for n in range(12):
        write_pair(root, f"images/{n}.png", f"masks/{n}.png", (1, 2), radius=12 + n, seed=n)
    return root


@pytest.fixture
def student(tmp_path):
    import torch

    torch.manual_seed(3)
    return write_student(tmp_path / "mine.safetensors", StudentEncoder("lcnet_050", 8), {"random": True})


def test_gains_are_over_an_untaught_encoder_of_the_same_kind(pictures, student, tmp_path):
    said = []
    report = probe_student(
        pictures, [student], (3, 50, 0), 2, size=64, tuned=True, settings=SHORT, output=tmp_path / "out" / "p.json",
        device="cpu", log=said.append,
    )  # fmt: skip
    assert json.loads((tmp_path / "out" / "p.json").read_text()) == report
    assert str(pictures.parent) not in json.dumps(report) and report["folder"] == "bars"
    assert report["structures"] == ["value 1", "value 2"] and report["train"] + report["test"] == 12
    keys = ["frozen-3", "frozen-all", "tuned-3", "tuned-all"]  # 50 are not there
    assert list(report["encoders"]) == [UNTAUGHT, "mine"] and list(report["encoders"]["mine"]) == keys
    for key in keys:
        mine, untaught = (report["encoders"][name][key] for name in ("mine", UNTAUGHT))
        gain = mine["dice"]["mean"] - untaught["dice"]["mean"]
        assert mine["over_untaught"]["mean"] == pytest.approx(gain, abs=2e-5)
        assert set(untaught) == {"dice"}
        low, high = mine["dice"]["ci95"]
        assert 0 <= low <= mine["dice"]["mean"] <= high <= 1
    assert any(line.startswith("bars: ") for line in said) and said[-1].startswith("mine: mean Dice frozen-3")
    lines = probe_table(report).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1 and lines[3].startswith("  over untaught")
    assert report["encoders"]["mine"]["frozen-all"]["dice"]["mean"] > 0


def test_command(pictures, student, tmp_path, capsys):
    arguments = ["probe-student", str(pictures), "--shots", "3", "--seeds", "1", "--size", "64"]
    assert main([*arguments, "--student", str(student), "--output", str(tmp_path / "p.json")]) == 0
    shown = capsys.readouterr().out
    assert "split by picture" in shown and "over untaught" in shown and (tmp_path / "p.json").is_file()
    assert main([*arguments, "--student", str(tmp_path / "gone.safetensors")]) == 2
    assert "gone.safetensors" in capsys.readouterr().err
    assert main([*arguments[:3], "500", "--student", str(student)]) == 2
    assert "ask for fewer, or for 0, which means all" in capsys.readouterr().err
    assert main([*arguments, "--seeds", "0"]) == 2
    assert "at least one seed" in capsys.readouterr().err


def test_the_shipped_student_is_the_usual_one(pictures):
    if not (ROOT / "bundles" / "vfss_seg" / "models" / "student.safetensors").is_file():
        pytest.skip("no student is shipped yet: python -m monai_agglo ship-student STUDY")
    report = probe_student(pictures, shots=(3,), seeds=1, size=64, settings=SHORT, device="cpu", log=lambda text: None)
    assert list(report["encoders"]) == [UNTAUGHT, "student"]


def test_students_of_one_name_are_told_apart(pictures, student, tmp_path):
    other = write_student(tmp_path / "other" / "mine.safetensors", StudentEncoder("lcnet_050", 8), {"random": True})
    report = probe_student(
        pictures, [student, other], (3,), 1, size=64, settings=SHORT, device="cpu", log=lambda text: None
    )
    assert list(report["encoders"]) == [UNTAUGHT, student.as_posix(), other.as_posix()]
