"""What a run says about itself."""

import subprocess

import torch

import monai_agglo
from monai_agglo.handlers import git_revision, provenance, run_name


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_revision_of_a_clone_and_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision(tmp_path) == f"monai-agglo {monai_agglo.__version__}"
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert git_revision(tmp_path) == head and len(head) == 40
    (tmp_path / "b").write_text("not tracked")
    assert git_revision(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == f"{head}-dirty"


def test_record():
    class Data(list):
        data_hash = "abc"

    record = provenance(Data([1, 2]), [1], torch.nn.Linear(3, 2), lr=0.1)
    assert record["train_data_hash"] == "abc" and record["train_samples"] == 2 and record["validate_samples"] == 1
    assert record["parameters"] == 8 and record["lr"] == 0.1 and "validate_data_hash" not in record
    assert all(isinstance(value, (str, int, float)) for value in record.values())


def test_names_are_unique_and_a_resumed_run_keeps_its_own(tmp_path):
    first = run_name(tmp_path)
    assert run_name(tmp_path, resume=True) == first
    second = run_name(tmp_path)
    assert second != first and second.startswith("vfss_seg_") and run_name(tmp_path, resume=True) == second
    assert run_name(tmp_path / "new", resume=True, prefix="x").startswith("x_")
