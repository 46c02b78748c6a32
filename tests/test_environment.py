"""One list of packages and one order of installation, wherever they are written down."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
STEPS = (
    'install torch torchvision "setuptools>=77" wheel',
    "install --no-build-isolation sam2==1.1.0",
    "install --no-build-isolation -e",
)


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def pip_section(conda):
    return next(item["pip"] for item in conda["dependencies"] if isinstance(item, dict))


def packages(project, extra):
    """Requirements of an extra, those of the extras that it names among them."""
    found = set()
    for item in project["optional-dependencies"][extra]:
        named = re.fullmatch(r"monai-agglo\[([\w,]+)\]", item)
        found |= set().union(*(packages(project, name) for name in named[1].split(","))) if named else {item}
    return found


def test_environment_yml_has_the_same_packages(project, conda):
    wanted = set(project["dependencies"]) | packages(project, "test")
    assert sorted(pip_section(conda)) == sorted(wanted)


def test_python_version_is_the_same(project, conda):
    assert f"python{project['requires-python']}" in conda["dependencies"]


def names_of(requirements):
    return {re.split(r"[<>=!~\[; ]", item)[0].lower() for item in requirements}


def test_core_packages_are_declared(project):
    base = names_of(project["dependencies"])
    assert {"nibabel", "pydicom", "onnxruntime", "av"} <= base
    assert not base & {"monai", "torch", "torchvision", "transformers", "mlflow", "timm", "pytorch-ignite", "itk"}
    named = {"monai", "torch", "transformers", "sam2", "pytorch-ignite", "mlflow", "itk", "timm", "openvino", "ray"}
    assert named <= names_of(packages(project, "all"))
    assert "sam2==1.1.0" in project["optional-dependencies"]["teachers"]


@pytest.mark.parametrize("name", ["environment.yml", "README.md", "docs/start/install.md"])
def test_installation_steps_are_the_script_s_and_in_its_order(name):
    """torch with its torchvision, then sam2 without build isolation, then the package."""
    text = (ROOT / name).read_text(encoding="utf-8")
    places = [text.find(step) for step in STEPS]
    assert -1 not in places, f"{name} lacks: {STEPS[places.index(-1)]}"
    assert places == sorted(places)
    assert "SAM2_BUILD_CUDA=0" in text


def test_script_installs_in_the_same_order():
    text = (ROOT / "scripts" / "_install.sh").read_text(encoding="utf-8")
    places = [text.index(part) for part in ('torch torchvision "setuptools>=77" wheel', "sam2==1.1.0", '-e ".$EXTRAS"')]
    assert places == sorted(places)
    assert text.index("SAM2_BUILD_CUDA=0") < places[1]


def run_install(tmp_path, **env):
    script = f'source "{ROOT}/scripts/_install.sh"; echo reached'
    base = {"PATH": "/usr/bin:/bin", "VENV_DIR": str(tmp_path / "venv"), "HOME": str(tmp_path)}
    return subprocess.run(["bash", "-c", script], env=base | env, capture_output=True, text=True, timeout=60)


def stand_in(tmp_path, text):
    """A program called python, which behaves as its shell text says."""
    path = tmp_path / "python-stand-in"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="bash and /bin/sh are needed")
class TestInstallFailsWithOneSentence:
    def check(self, result, words):
        assert result.returncode == 1
        assert "reached" not in result.stdout
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith("error: ")
        assert words in line

    def test_no_such_python(self, tmp_path):
        self.check(run_install(tmp_path, PYTHON="/nowhere/python"), "does not run")

    def test_python_too_old(self, tmp_path):
        old = stand_in(tmp_path, '[ "$1" = -V ] && echo Python 3.8.1; [ -z "$2" ]')
        self.check(run_install(tmp_path, PYTHON=old), "is Python 3.8.1, but Python 3.10 or newer is needed")

    def test_no_venv_module(self, tmp_path):
        bare = stand_in(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
        self.check(run_install(tmp_path, PYTHON=bare), "python3-venv")

    def test_nothing_is_left_behind(self, tmp_path):
        run_install(tmp_path, PYTHON="/nowhere/python")
        assert not (tmp_path / "venv").exists()
