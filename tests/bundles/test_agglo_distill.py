"""agglo_distill runs on the CPU: every config, killed and resumed, in two processes; its mistakes are one sentence."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from PIL import Image

from monai_agglo.bundle.doctor import SCHEMA_MD5
from monai_agglo.bundle.exports.student import export_student
from monai_agglo.networks import load_student, read_student

from .distill import BUNDLE, NETWORK, ROOT, config, run, small
from .running import fails_because
from .test_metadata import SCHEMA

TEACHERS = ("random_fine", "random_coarse")
HEADINGS = ("Authors", "Tags", "Model Description", "Data", "Performance", "Additional Usage Steps")
HEADINGS += ("System Configuration", "Limitations", "Citation Info", "References")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return tmp_path_factory.mktemp("phantom") / "p"


@pytest.fixture(scope="module")
def trained(phantom, tmp_path_factory):
    """The folder of a whole run, tracked."""
    output = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        run("train", **small(output, phantom, epochs=3))
    return output


def tracked(output):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{output / 'mlruns.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("agglo_distill").experiment_id])
    return found


def test_train_writes_a_student_and_tracks_it(trained):
    """Losses, weights, gradient norms and retention of every teacher are in MLflow; all says that they are random."""
    student, card = read_student(trained / "student.safetensors")
    assert card["random"] and "RANDOM" in card["warning"]
    assert [teacher["name"] for teacher in card["teachers"]] == list(TEACHERS)
    assert all(teacher["weights_hash"].startswith("random-") and teacher["licence"] for teacher in card["teachers"])
    assert card["data"]["licences"] == {"phantom": "CC0-1.0 (synthetic)"} and len(card["train_data_hash"]) == 64
    assert card["retention"].keys() == set(TEACHERS) and card["git_revision"]
    assert (trained / "run_name.txt").read_text().startswith("agglo_distill_RANDOM_TEACHERS")
    record = tracked(trained)
    metrics = record.data.metrics
    assert record.info.status == "FINISHED"
    for name in TEACHERS:
        assert {f"{kind}/{name}" for kind in ("loss", "weight", "gradient_norm", "r2", "cosine")} <= metrics.keys()
        assert record.data.params[f"teacher/{name}/weights_hash"].startswith("random-")
        assert {f"step_loss/{name}", f"step_weight/{name}"} <= metrics.keys()
    assert {"worst_r2", "mean_r2", "retention", "train_loss"} <= metrics.keys()
    assert metrics["worst_r2"] == pytest.approx(card["worst_r2"], abs=1e-4)
    assert record.data.params["random"] == "True" and "cache_hash" in record.data.params
    assert not any(str(trained) in str(value) for value in record.data.params.values())
    # model.pt is the same student, and so is what export-student takes out of the checkpoint
    final = torch.load(trained / "model.pt", weights_only=True)
    assert all(torch.equal(final[key], value) for key, value in student.state_dict().items())
    again, _ = read_student(export_student(trained, trained / "again.safetensors"))
    assert all(torch.equal(value, student.state_dict()[key]) for key, value in again.state_dict().items())


def test_the_best_weights_are_kept_apart(trained):
    best, final = (torch.load(trained / name, weights_only=True) for name in ("model_best.pt", "model.pt"))
    assert best.keys() == final.keys()


@pytest.fixture
def parsed(tmp_path):
    """The training config with overrides, as the command line gives them, initialised and not run."""

    def parse(**overrides):
        options = small(tmp_path / "out", tmp_path / "p", **overrides)
        workflow = ConfigWorkflow(config_file=config("train"), workflow_type="train", **options)
        workflow.initialize()
        return workflow.parser

    return parse


def test_parsing_builds_nothing(parsed, tmp_path):
    """Neither phantoms nor features, also when the ids that do not need them are asked for."""
    parser = parsed()
    for name in ("network_def", "live_teachers", "loss", "optimizer", "lr_scheduler", "students", "view"):
        parser.get_parsed_content(name)
    assert list(tmp_path.iterdir()) == []


def test_images_are_dataset_dir_or_phantoms(tmp_path, monkeypatch):
    monkeypatch.setenv("AGGLO_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("AGGLO_DATA", str(tmp_path / "shared"))
    (tmp_path / "shared" / "data" / "some" / "images").mkdir(parents=True)
    workflow = ConfigWorkflow(config_file=config("train"), workflow_type="train", logging_file=False)
    workflow.initialize()
    assert workflow.parser.get_parsed_content("dataset_dir") == workflow.parser.get_parsed_content("phantom_dir")


def test_optimizer_scheduler_and_loss_are_ids(parsed, trained, phantom):
    """What is set on the command line reaches every student's optimiser."""
    overrides = {"optimizer#lr": 1e-3, "optimizer#weight_decay": 0.1, "lr_scheduler#warmup": 0.5, "loss#kind": "mse"}
    several = [{"name": "one"}, {"name": "two", "lr": 5e-4}]
    options = {"dataset_dir": str(phantom), "phantom_dir": str(phantom), "cache_dir": str(trained / "cache")}
    learners = parsed(**overrides, **options, students=several, epochs=4).get_parsed_content("learners")
    assert [learner.optimizer.defaults["lr"] for learner in learners] == [1e-3, 5e-4]
    first, second = (group["weight_decay"] for group in learners[0].optimizer.param_groups)
    assert (first, second) == (0.1, 0.0)
    assert learners[0].scheduler.warmup_steps == learners[0].total_steps // 2
    assert learners[0].loss.feature_loss.kind == "mse"
    assert learners[0].settings["lr"] == 1e-3 and learners[1].settings["lr"] == 5e-4


def test_evaluate_reports_the_same_retention(trained, phantom):
    """Retention is that of the training's card; the probes' report is beside it."""
    options = small(trained, phantom, probe_steps=3, probe_shots=[4, 0])
    workflow = ConfigWorkflow(config_file=config("train", "evaluate"), workflow_type="train", **options)
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    report = json.loads((trained / "retention.json").read_text())
    card = json.loads((trained / "student.json").read_text())
    assert report["random"] and report["students"]["student"]["retention"] == card["retention"]
    probes = json.loads((trained / "probe.json").read_text())
    rows = probes["students"]["student"]
    assert probes["train_frames"] == 2 * card["data"]["cases"]["training"] and probes["part"] == "validation"
    assert set(rows) == {"linear-4", "linear-all", "light-4", "light-all"}
    assert all(len(row["structures"]) == 12 and 0 <= row["dice"] <= 1 for row in rows.values())


def test_inference(trained, tmp_path):
    options = {**NETWORK, "output_dir": str(tmp_path / "out"), "weights": str(trained / "student.safetensors")}
    options |= {"phantom_dir": str(tmp_path / "p"), "dataset_dir": str(tmp_path / "p"), "image_size": 128}
    options |= {"source#size": 96, "source#frames": 2, "logging_file": False}
    workflow = ConfigWorkflow(config_file=config("inference"), workflow_type="infer", **options)
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    (features,) = (tmp_path / "out").glob("*/*_student_features_RANDOM.npz")
    with np.load(features) as found:
        assert found["features"].shape == (2, 8, 32, 32) and found["affine"].shape == (3, 3)
        assert np.isfinite(found["features"]).all() and found["features"].std() > 0
    (picture,) = (tmp_path / "out").glob("*/*_student_pca.png")
    assert np.asarray(Image.open(picture)).std() > 10


def process(*arguments, torchrun=0):
    start = [sys.executable]
    if torchrun:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={torchrun}"]
    script = ROOT / "tests" / "bundles" / "distill_process.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*start, str(script), *map(str, arguments)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_killed_and_resumed_equals_uninterrupted(trained, phantom, tmp_path):
    shutil.copytree(trained / "cache", tmp_path / "cache")
    checkpoint, deadline = tmp_path / "checkpoint.pt", time.monotonic() + 400
    running = process(tmp_path, phantom, 3, 2)
    while running.poll() is None and time.monotonic() < deadline:
        if checkpoint.exists() and torch.load(checkpoint, weights_only=True)["engine"]["iteration"] == 2:
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL, running.stdout.read()[-3000:]
    assert not (tmp_path / "model.pt").exists()
    run("train", **small(tmp_path, phantom, epochs=3, resume=True, track=False))
    ends = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (trained, tmp_path)]
    assert ends[0]["engine"] == ends[1]["engine"]
    one, other = (end["objects"]["student/student"] for end in ends)
    assert one["steps"] == other["steps"] > 2
    for part in ("objective", "average"):
        first, second = one[part].get("averaged", one[part]), other[part].get("averaged", other[part])
        assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_two_processes(phantom, trained, tmp_path):
    """torchrun with gloo: both ranks end with the same parameters and the same retention."""
    shutil.copytree(trained / "cache", tmp_path / "cache")
    running = process(tmp_path, phantom, 1, 0, torchrun=2)
    log = running.communicate(timeout=500)[0]
    assert running.returncode == 0, log[-4000:]
    one, other = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one["state"].keys() == other["state"].keys()
    assert all(torch.equal(one["state"][key], other["state"][key]) for key in one["state"])
    assert one["metrics"]["worst_r2"] == other["metrics"]["worst_r2"]
    assert (tmp_path / "student.safetensors").is_file()


REFUSED = {
    "one teacher": ({"teachers": ["mobilenet_v3"]}, "agglomeration needs at least two teachers"),
    "twice": ({"teachers": ["mobilenet_v3", "mobilenet_v3"]}, "teacher mobilenet_v3 is given twice"),
    "unknown teacher": ({"teachers": ["mobilenet_v3", "medsan"]}, "no teacher 'medsan'"),
    "balancer": ({"balancer": "best"}, "there is no balancer 'best'"),
    "option": ({"balancer_options": {"power": 3}}, "balancer equal"),
    "projector": ({"projector": "none"}, "there is no projector 'none'"),
    "stride": ({"network_def#stride": 32}, "the student's stride is larger than that of random_fine"),
    "zoom": ({"zoom": [2, 1]}, "zoom is the least and the largest magnification"),
    "cache": ({"cache#build": False}, "there is no feature cache"),
    "targets": ({"targets": "whitened"}, "unknown normalisation of targets 'whitened'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_one_sentence(case, trained, phantom, tmp_path):
    """Told before a teacher has run."""
    overrides, words = REFUSED[case]
    with fails_because(ValueError, words):
        run("train", **small(tmp_path, phantom, track=False, **overrides))
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_missing_files_are_one_sentence(phantom, trained, tmp_path):
    with fails_because(FileNotFoundError, "there is no checkpoint none.pt"):
        run("train", "evaluate", **small(trained, phantom, checkpoint="none.pt"))
    options = {"phantom_dir": str(tmp_path / "p"), "dataset_dir": str(tmp_path / "p"), "source#size": 96}
    with fails_because(FileNotFoundError, "there is no student in none.safetensors"):
        run("inference", output_dir=str(tmp_path), weights="none.safetensors", logging_file=False, **options)


def test_metadata(tmp_path):
    assert (BUNDLE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    card = (BUNDLE / "docs" / "README.md").read_text()
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == list(HEADINGS)
    meta = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    assert meta["version"] in meta["changelog"]
    names = [json.loads((BUNDLE / "configs" / f"{n}.json").read_text())["network_def"] for n in ("train", "inference")]
    assert names[0] == names[1]
    assert names[0]["out_channels"] == meta["network_data_format"]["outputs"]["pred"]["num_channels"]
    if not SCHEMA.is_file():
        pytest.skip("no metadata schema (AGGLO_SHARED)")
    copy = shutil.copy(SCHEMA, tmp_path / "schema.json")
    verify_metadata(
        meta_file=str(BUNDLE / "configs" / "metadata.json"), filepath=str(copy), hash_val=SCHEMA_MD5, hash_type="md5"
    )


def test_the_directory_is_whole_for_a_model_zoo():
    """The files that the zoo's check asks for, in the clone as it is checked out, and weights that fit the network."""
    needed = ("LICENSE", "configs/metadata.json", "configs/inference.json", "configs/train.json", "docs/README.md")
    needed += ("docs/data_license.txt", "models/model.pt", "models/student.json")
    files = [f"bundles/agglo_distill/{name}" for name in needed]
    if (ROOT / ".git").exists():
        found = subprocess.run(["git", "ls-files", *files], cwd=ROOT, capture_output=True, text=True, check=True)
        assert sorted(found.stdout.split()) == sorted(files)
    assert all((ROOT / name).is_file() for name in files)
    meta = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    assert {"inputs", "outputs"} <= meta["network_data_format"].keys()
    network = ConfigParser(ConfigParser.load_config_file(config("inference")[0])).get_parsed_content("network_def")
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))


def test_the_released_student_is_one_in_both_bundles():
    segmenter = ROOT / "bundles" / "vfss_seg"
    one, other = (load_student(folder).state_dict() for folder in (BUNDLE, segmenter))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    cards = [(folder / "models" / "student.json").read_bytes() for folder in (BUNDLE, segmenter)]
    assert cards[0] == cards[1]


def test_network_is_what_the_metadata_say():
    meta, path = str(BUNDLE / "configs" / "metadata.json"), config("inference")[0]
    verify_net_in_out(net_id="network_def", meta_file=meta, config_file=path, device="cpu", n=2, any=1)
