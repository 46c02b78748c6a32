"""Bundles are found in a clone and in an installed wheel."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from monai_agglo.bundle import find_bundle

ROOT = Path(__file__).parents[1]


def test_by_name_in_the_clone():
    assert find_bundle("vfss_seg") == ROOT / "bundles" / "vfss_seg"


def test_by_folder(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text("{}")
    assert find_bundle(tmp_path) == tmp_path


def test_folder_without_metadata(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a bundle: it holds no configs/metadata.json"):
        find_bundle(tmp_path)


def test_unknown_name_lists_the_known():
    with pytest.raises(FileNotFoundError, match=r"no bundle 'vfss': .* vfss_seg"):
        find_bundle("vfss")


def test_wheel_contains_the_bundle(tmp_path):
    """Built from a copy, unpacked elsewhere, and asked there: predict without --bundle must find its weights."""
    copy = tmp_path / "copy"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/results")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / "bundles" / "vfss_seg" / "models" / "other.pt").write_bytes(b"a checkpoint of somebody's run")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(tmp_path), str(copy)], check=True)
    (wheel,) = tmp_path.glob("monai_agglo-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    inside = "monai_agglo/bundles/vfss_seg"
    wanted = {"LICENSE", "configs/metadata.json", "configs/inference.json", "configs/train.json", "models/model.pt"}
    assert {f"{inside}/{name}" for name in wanted} <= set(names)
    assert not [name for name in names if "other.pt" in name or "/eval/" in name]
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"monai_agglo"}
    script = "from monai_agglo.bundle import find_bundle; print(find_bundle('vfss_seg'))"
    found = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(tmp_path / "site")}, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()) == tmp_path / "site" / inside
    shipped = json.loads((tmp_path / "site" / inside / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert shipped["version"] in shipped["changelog"]
