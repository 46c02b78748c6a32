"""The templates for Slurm and Kubernetes: they parse, what they start exists, and they say that they were not run."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from monai_agglo import __main__ as cli

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "docs" / "how-to" / "cluster").iterdir())
SBATCH = [path for path in FILES if path.suffix == ".sbatch"]
YAML = [path for path in FILES if path.suffix == ".yaml"]


def objects_of(path):
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def parse(words):
    """Commands of ours, however they are started: unknown options end with exit code 2."""
    if "monai_agglo" in words:
        cli.build_parser().parse_args(words[words.index("monai_agglo") + 1 :])
        return "predict"
    from monai_agglo.bundle.config_check import load_parser

    rest = words[words.index("monai.bundle") + 2 :]
    options = dict(zip(rest[::2], rest[1::2]))
    files = [ROOT / name.strip("'") for name in options.pop("--config_file").strip("[]").split(",")]
    assert words[0].endswith("torchrun") and all(file.is_file() for file in files)
    config = load_parser(files, files[0].parents[1])
    assert all(name.removeprefix("--") in config for name in options)
    assert any(word.startswith("--nnodes") for word in words) and any("rdzv_endpoint" in word for word in words)
    return "train"


def test_there_are_templates_for_both_and_the_page_names_them():
    page = (ROOT / "docs" / "how-to" / "live_and_many.md").read_text(encoding="utf-8")
    assert len(SBATCH) == 2 and len(YAML) == 3 and len(FILES) == 5
    assert all(f"cluster/{path.name}" in page for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_they_say_that_they_were_not_run(path):
    head = " ".join(path.read_text(encoding="utf-8").splitlines()[:4])
    assert "not run by us" in head.replace("Not", "not")


@pytest.mark.parametrize("path", SBATCH, ids=lambda path: path.name)
def test_slurm(path):
    text = path.read_text(encoding="utf-8")
    if os.name == "posix":
        subprocess.run(["bash", "-n", str(path)], check=True)
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", text, re.M))
    assert {"job-name", "nodes", "ntasks-per-node", "time", "requeue"} <= options.keys()
    assert text.count("#SBATCH") == len(options) and "set -euo pipefail" in text
    lines = text.replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if re.match(r"(srun .*)?(python -m monai_agglo|srun torchrun)", line)]
    words = shlex.split(line)
    assert parse(words[1:] if words[0] == "srun" else words) == path.stem
    for name in re.findall(r"\$\{(\w+):\?", text):
        assert f"${name}" in text  # what is demanded is used


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_kubernetes(path):
    objects = objects_of(path)
    assert all({"apiVersion", "kind", "metadata", "spec"} <= item.keys() for item in objects)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]+", item["metadata"]["name"]) for item in objects)
    job = objects[-1]
    if job["kind"] == "RayJob":
        assert parse(shlex.split(job["spec"]["entrypoint"])) == "predict"
        cluster = job["spec"]["rayClusterSpec"]
        pods = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    else:
        assert job["kind"] == "Job" and job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
        pods = [job["spec"]["template"]]
        assert parse(pods[0]["spec"]["containers"][0]["command"]) == path.stem
    for pod in pods:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"] or (
                "nvidia.com/gpu" in container["resources"]["limits"]
            )
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_pods_of_the_training_find_the_first_one():
    service, job = objects_of(ROOT / "docs" / "how-to" / "cluster" / "train.yaml")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    pod = spec["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None" and pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    words = dict(word.partition("=")[::2] for word in pod["containers"][0]["command"])
    host, port = words["--rdzv_endpoint"].split(":")
    assert host == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert int(port) == service["spec"]["ports"][0]["port"]
    assert int(words["--nnodes"]) == spec["completions"]
