"""The wheel without extras: a fresh environment segments a cine and writes its report, and has no PyTorch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from monai_agglo.phantom import PhantomSpec, write_study

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "monai", "ignite", "mlflow", "timm", "transformers")
LARGEST_MB = 1000


def run(*command, **more):
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=env, timeout=900, **more)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the tracked files."""
    copy, folder = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("wheel")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone: the tracked files are not known")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/results")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, copy)
    return next(folder.glob("monai_agglo-*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Python of a fresh environment with the wheel and what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    try:
        run(python, "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", wheel)
    except AssertionError as error:
        if "No matching distribution" in str(error) or "onnection" in str(error):
            pytest.skip("no package index can be reached")
        raise
    return python


@pytest.fixture(scope="module")
def cine(tmp_path_factory):
    return write_study(PhantomSpec.sample(11, rows=256, cols=256), tmp_path_factory.mktemp("study"), frames=8).cine


def test_installs_without_the_heavy_packages(python):
    code = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    assert run(python, "-c", code, *HEAVY).strip() == "[]"
    site = python.parents[1]
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < LARGEST_MB << 20


def test_segments(python, cine, tmp_path):
    run(python, "-m", "monai_agglo", "predict", cine, "--output", tmp_path / "out", cwd=tmp_path)
    record = json.loads((tmp_path / "out" / "predict.json").read_text(encoding="utf-8"))
    assert record["model"]["runtime"] == "onnxruntime" and record["frames"]["count"] == 8
    assert sum(record["area_px"]["mandible"]) > 0


def test_reports(python, cine, tmp_path):
    run(python, "-m", "monai_agglo", "report", cine, "--output", tmp_path / "out", "--repeats", "0", cwd=tmp_path)
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["predict", "CINE", "--output", "out", "--runtime", "torch"], "train"),
        (["cache", "cache", "--source", "CINE", "--teachers", "litemedsam"], "train"),
        (["serve", "--config", "none.json"], "pacs"),
    ],
)
def test_a_missing_extra_is_one_sentence(arguments, extra, python, cine, tmp_path):
    command = [python, "-m", "monai_agglo", *(str(cine) if word == "CINE" else word for word in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and f"pip install 'monai-agglo[{extra}]'" in line
    assert not (tmp_path / "out").exists()
