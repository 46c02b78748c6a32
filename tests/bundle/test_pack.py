"""A packed bundle is whole, carries this package's code as it is, and runs where this package is not installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import monai_agglo
from monai_agglo import __main__ as cli
from monai_agglo.bundle import pack
from monai_agglo.bundle.doctor import sha256
from monai_agglo.bundle.pack import label_name, source_hash

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles" / "vfss_seg"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return pack("vfss_seg", tmp_path_factory.mktemp("dist"))


def test_carries_the_bundle_and_the_same_sources(packed):
    assert packed.name == "vfss_seg"
    for name in ("LICENSE", "configs/metadata.json", "configs/train.json", "docs/README.md", "models/model.pt"):
        assert (packed / name).read_bytes() == (BUNDLE / name).read_bytes()
    package = Path(monai_agglo.__file__).parent
    sources = {p.relative_to(package) for p in package.rglob("*") if p.is_file() and p.suffix not in (".pyc", ".part")}
    copies = {p.relative_to(packed / "monai_agglo") for p in (packed / "monai_agglo").rglob("*") if p.is_file()}
    assert copies == sources and Path("reporting/assets/page.html") in copies
    assert all((package / path).read_bytes() == (packed / "monai_agglo" / path).read_bytes() for path in copies)
    record = json.loads((packed / "packed.json").read_text())
    assert record["source_sha256"] == source_hash() == source_hash(packed / "monai_agglo")
    assert record["files"]["models/model.pt"] == sha256(BUNDLE / "models" / "model.pt")


def config(folder, name):
    return json.loads((folder / "configs" / f"{name}.json").read_text(encoding="utf-8"))


def test_for_monai_label(tmp_path):
    """Label reads train.json and inference.json only: what it needs is in them, and nothing else is changed."""
    folder = pack("vfss_seg", tmp_path, label=True)
    label = config(BUNDLE, "label")
    del label["_desc_"]
    assert config(folder, "train") == {**config(BUNDLE, "train"), **label}
    assert config(folder, "inference") == {**config(BUNDLE, "inference"), "in_label": True}
    own = {path.name: path.read_bytes() for path in (BUNDLE / "configs").iterdir()}
    changed = {path.name for path in (folder / "configs").iterdir() if path.read_bytes() != own[path.name]}
    assert changed == {"inference.json", "train.json"}
    record = json.loads((folder / "packed.json").read_text())
    assert record["files"]["configs/train.json"] == sha256(folder / "configs" / "train.json")


def test_a_setting_that_train_json_does_not_have_is_refused(tmp_path):
    copy = Path(shutil.copytree(BUNDLE, tmp_path / "mine", ignore=shutil.ignore_patterns("eval", "data")))
    (copy / "configs" / "label.json").write_text('{"best_paht": "model.pt"}')
    with pytest.raises(ValueError, match="label.json sets best_paht, which train.json does not have"):
        pack(copy, tmp_path / "dist", label=True)
    assert not list((tmp_path / "dist").iterdir())


def test_holds_nothing_else(packed):
    assert {p.name for p in packed.iterdir()} == {"LICENSE", "configs", "docs", "models", "monai_agglo", "packed.json"}
    assert not [p for p in packed.rglob("*") if p.name in ("scripts", "__pycache__", "eval")]
    models = {"model.onnx", "model.pt", "student.json", "student.safetensors"}
    assert {p.name for p in (packed / "models").iterdir()} == models
    assert [p.name for p in packed.parent.iterdir()] == ["vfss_seg"]


def test_runs_alone(packed, tmp_path):
    """From another folder, where no installation of ours is on the path: only the packed one knows ``monai_agglo``."""
    from monai_agglo.bundle import ensure_cine

    folder = Path(shutil.copytree(packed, tmp_path / "elsewhere" / "vfss_seg"))
    cine = ensure_cine(tmp_path / "cine", tmp_path / "cine", size=64, frames=2)
    # The editable installation is what a .pth file or a finder puts on the path; -S leaves both out.
    libraries = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VFSS"))}
    env |= {"PYTHONPATH": libraries, "OMP_NUM_THREADS": "1", "MONAI_AGGLO_HOME": str(tmp_path / "home")}
    away = subprocess.run([sys.executable, "-S", "-c", "import monai, monai_agglo"], cwd=tmp_path, env=env,
                          capture_output=True, text=True)  # fmt: skip
    assert "No module named 'monai_agglo'" in away.stderr
    config = folder / "configs" / "inference.json"
    command = [sys.executable, "-S", "-m", "monai.bundle", "run", "--config_file", str(config)]
    command += ["--dataset_dir", str(cine), "--output_dir", str(tmp_path / "out"), "--image_size", "64"]
    command += ["--bundle_root", str(folder)]
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (masks,) = (tmp_path / "out").rglob("*_masks.nii.gz")
    import nibabel

    assert nibabel.load(masks).shape == (64, 64, 2, 12)


def test_packs_again_but_never_over_something_else(packed, tmp_path):
    first = pack(BUNDLE, tmp_path)
    (first / "monai_agglo" / "__pycache__").mkdir()  # what running it leaves behind
    (first / "monai_agglo" / "__pycache__" / "x.pyc").write_bytes(b"")
    assert pack(BUNDLE, tmp_path) == first
    torch.save({}, first / "models" / "model.pt")
    trained = (first / "models" / "model.pt").read_bytes()
    with pytest.raises(ValueError, match=r"has changed since it was packed \(models/model.pt\); move it away first"):
        pack(BUNDLE, tmp_path)
    assert (first / "models" / "model.pt").read_bytes() == trained
    mine = tmp_path / "dist" / "vfss_seg"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and was not packed by this command"):
        pack(BUNDLE, tmp_path / "dist")
    assert [p.name for p in mine.parent.iterdir()] == ["vfss_seg"] and (mine / "notes.txt").read_text() == "mine"


def test_refuses_what_would_not_work(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no models/model.pt: train it"):
        pack("medclip_teacher", tmp_path)
    copy = Path(shutil.copytree(BUNDLE, tmp_path / "mine", ignore=shutil.ignore_patterns("eval", "data")))
    (copy / "scripts").mkdir()
    with pytest.raises(ValueError, match="holds a folder scripts"):
        pack(copy, tmp_path / "dist")
    (copy / "scripts").rmdir()
    with pytest.raises(ValueError, match="lies in the bundle itself"):
        pack(copy, copy / "dist")
    for name in ("../x", ".hidden", ""):
        with pytest.raises(ValueError, match="is no name for a folder"):
            pack(copy, tmp_path / "dist", name)
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(
    ("bundle", "name"),
    [("vfss_seg", "vfss_seg"), ("litemedsam_teacher", "litemedsam_deepgrow"), ("medsam_teacher", "medsam_deepgrow"),
     ("medsam2_teacher", "medsam2_deepgrow"), ("rad_dino_teacher", "rad_dino_teacher")],
)  # fmt: skip
def test_name_tells_label_what_takes_prompts(bundle, name):
    assert label_name(ROOT / "bundles" / bundle) == name


def test_command(tmp_path, capsys):
    assert cli.main(["pack", "vfss_seg", "--output", str(tmp_path), "--name", "mine"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "mine")
    assert cli.main(["pack", "vfss_seg", "--output", str(tmp_path), "--name", "mine"]) == 0
    assert cli.main(["pack", "vfss_seg", "--output", str(tmp_path), "--name", "label", "--label"]) == 0
    assert config(tmp_path / "label", "train")["in_label"] is True
    (tmp_path / "mine" / "packed.json").unlink()
    assert cli.main(["pack", "vfss_seg", "--output", str(tmp_path), "--name", "mine"]) == 2
