"""Distillation in one call: the student, resuming, refusals; call, command and bundle write the same files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import monai_agglo
from monai_agglo.__main__ import main
from monai_agglo.distill import training
from monai_agglo.networks import StudentEncoder
from monai_agglo.networks.teachers import WeightsMissingError
from monai_agglo.networks.teachers.checkpoint import CheckpointError

ROOT = Path(__file__).parents[2]
FILES = {"student.safetensors", "student.json", "model.pt", "checkpoint.pt", "cache"}
SMALL = {
    "backbone": "test_efficientnet",
    "size": 128,
    "frame_size": 96,
    "batch": 2,
    "steps": 12,
    "random_weights": True,
}
FRAME = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(3)
    for number in range(6):
        picture = cv2.resize(rng.random((6, 8), np.float32), (96, 72), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.png"), (picture.clip(0, 1) * 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def distilled(images, tmp_path_factory):
    """The output folder of a whole distillation, and the student that was returned."""
    output = tmp_path_factory.mktemp("whole") / "out"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:  # what is held out depends on the key of pseudonyms
        patch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        student = monai_agglo.agglomerate(images, None, output, progress=False, **SMALL)
    torch.set_num_threads(threads)
    return output, student


def weights(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_student_is_trained(distilled):
    student = distilled[1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = StudentEncoder("test_efficientnet")
    assert not student.training and not equal(student.state_dict(), start.state_dict())


def test_the_loss_falls(images, tmp_path, monkeypatch):
    losses = []

    class Seen(training.AgglomerationTrainer):
        def _iteration(self, engine, batchdata):
            output = super()._iteration(engine, batchdata)
            losses.append(float(output["loss"]))
            return output

    monkeypatch.setattr(training, "AgglomerationTrainer", Seen)
    monai_agglo.agglomerate(images, None, tmp_path / "out", progress=False, **{**SMALL, "steps": 30})
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_every_way_of_loading_gives_the_same_features(distilled):
    output, student = distilled
    for path in (output, output / "student.safetensors", output / "model.pt"):
        loaded = monai_agglo.load_student(path)
        assert not loaded.training
        assert torch.equal(loaded(FRAME), student(FRAME))


def test_the_card_says_what_it_is_made_of(distilled, images):
    card = json.loads((distilled[0] / "student.json").read_text())
    assert card["random"] and "RANDOM" in card["warning"]
    assert [teacher["name"] for teacher in card["teachers"]] == ["random_fine", "random_coarse"]
    assert card["data"]["cases"] == {"training": 5, "validation": 1, "test": 0}
    assert (
        card["steps"] == 12
        and card["targets"] == "phi_s"
        and card["retention"].keys() == {"random_fine", "random_coarse"}
    )
    assert str(images) not in json.dumps(card)


def test_a_finished_distillation_is_not_repeated(distilled, images, monkeypatch):
    output, student = distilled
    monkeypatch.setattr(training, "train_students", lambda *_, **__: pytest.fail("trained again"))
    again = monai_agglo.agglomerate(images, None, output, progress=False, **SMALL)
    assert torch.equal(again(FRAME), student(FRAME))


def test_other_settings_are_refused(distilled, images):
    with pytest.raises(ValueError, match="holds a distillation with other lr, steps: choose another folder"):
        monai_agglo.agglomerate(images, None, distilled[0], progress=False, **{**SMALL, "steps": 13, "lr": 0.1})


def test_killed_and_resumed_gives_the_same_student(distilled, images, tmp_path):
    """Killed in the middle of an epoch, between two checkpoints."""
    output = tmp_path / "out"
    shutil.copytree(distilled[0] / "cache", output / "cache")
    script = (
        "import sys, time, torch; from ignite.engine import Events; import monai_agglo\n"
        "from monai_agglo.distill import training\n"
        "torch.set_num_threads(1); training.CHECKPOINT_EVERY = 4\n"
        "class Slow(training.AgglomerationTrainer):\n"
        "    def _iteration(self, engine, batchdata):\n"
        "        time.sleep(600 if engine.state.iteration == 7 else 0)\n"
        "        return super()._iteration(engine, batchdata)\n"
        "training.AgglomerationTrainer = Slow\n"
        f"monai_agglo.agglomerate({str(images)!r}, None, {str(output)!r}, progress=False, **{SMALL!r})\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (output / "checkpoint.pt").exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL, running.stderr.read()[-3000:]
    assert torch.load(output / "checkpoint.pt", weights_only=True)["engine"]["iteration"] == 4
    assert not (output / "student.safetensors").exists()
    monai_agglo.agglomerate(images, None, output, progress=False, **SMALL)
    assert equal(weights(output), weights(distilled[0]))


def test_a_single_image_has_nothing_held_out(images, tmp_path):
    monai_agglo.agglomerate(images / "0.png", None, tmp_path / "out", progress=False, **{**SMALL, "steps": 2})
    data = json.loads((tmp_path / "out" / "student.json").read_text())["data"]
    assert data["cases"]["training"] == data["cases"]["validation"] == 1 and "training images" in data["held_out"]


def test_files_are_split_together(images, tmp_path):
    files = sorted(images.glob("*.png"))[:5]
    monai_agglo.agglomerate(files, None, tmp_path / "out", progress=False, **{**SMALL, "steps": 2})
    data = json.loads((tmp_path / "out" / "student.json").read_text())["data"]
    assert data["cases"] == {"training": 4, "validation": 1, "test": 0} and "held_out" not in data


def test_command_writes_the_same_files(images, distilled, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["--steps", "2", "--batch", "2", "--size", "128", "--backbone", "test_efficientnet", "--random-weights"]
    assert main(["distill", str(images), "--output", str(output), *arguments]) == 0
    shown = capsys.readouterr()
    assert "random_fine: R2" in shown.out and "RANDOM" in shown.out and "2/2 steps" in shown.err
    assert {path.name for path in output.iterdir()} >= FILES
    assert {path.name for path in output.iterdir()} == {path.name for path in distilled[0].iterdir()}


def test_bundle_writes_the_same_files(images, distilled, tmp_path):
    import monai.bundle

    config = str(ROOT / "bundles" / "agglo_distill" / "configs" / "train.json")
    options = {
        "dataset_dir": str(images), "output_dir": str(tmp_path), "random_weights": True, "image_size": 128, "epochs": 1,
        "frame_size": 96, "batch_size": 2, "network_def#backbone": "test_efficientnet", "track": False,
        "cache#progress": False, "logging_file": False,
    }  # fmt: skip
    monai.bundle.run(config_file=config, **options)
    assert {path.name for path in tmp_path.iterdir()} >= FILES
    assert torch.equal(
        monai_agglo.load_student(tmp_path)(FRAME), monai_agglo.load_student(tmp_path / "model.pt")(FRAME)
    )
    ours, theirs = (json.loads((folder / "student.json").read_text()) for folder in (distilled[0], tmp_path))
    assert theirs.keys() - ours.keys() == {"epochs", "accumulation"} and ours.keys() - theirs.keys() == {"steps"}


REFUSED = {
    "no images": (["nowhere"], [], "nowhere: there is no such file or folder"),
    "teacher": (["."], ["--teachers", "medsan", "litemedsam"], "no teacher 'medsan'; known are medsam,"),
    "method": (["."], ["--method", "best"], "there is no balancer 'best': choose one of single, equal"),
    "targets": (["."], ["--targets", "raw"], "unknown normalisation of targets 'raw'"),
    "steps": (["."], ["--steps", "0"], "steps, batch and lr must be positive"),
    "size": (["."], ["--size", "100"], "multiple of 32 pixels"),
    "zoom": (["."], ["--zoom", "2", "1"], "zoom is the least and the largest magnification"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_answered_before_torch_is_imported(case, tmp_path):
    given, options, words = REFUSED[case]
    arguments = ["distill", *given, "--output", str(tmp_path / "out"), *options]
    script = (
        f"import sys; from monai_agglo.__main__ import main; code = main({arguments!r})\n"
        "print(code, sorted({'torch', 'monai', 'timm', 'cv2'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "2 []"
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and words in line
    assert not (tmp_path / "out").exists()


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("AGGLO_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))


@pytest.mark.parametrize(
    "teachers", [[], ["--teachers", "litemedsam", "dinov2_small"], ["--teachers", "medsam", "rad_dino"]]
)
def test_missing_weights_name_the_lines_that_fetch_open_ones(teachers, images, no_weights, tmp_path, capsys):
    assert main(["distill", str(images), "--output", str(tmp_path / "out"), *teachers]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    for words in ("python -m monai_agglo weights litemedsam", "weights dinov2_small", "--random-weights"):
        assert words in line
    assert not (tmp_path / "out").exists()


def test_the_bundle_says_the_same_without_weights(images, no_weights, tmp_path, capsys):
    import monai.bundle

    assert main(["distill", str(images), "--output", str(tmp_path / "out")]) == 2
    sentence = capsys.readouterr().err.removeprefix("error: ").strip()
    config = str(ROOT / "bundles" / "agglo_distill" / "configs" / "train.json")
    options = {"dataset_dir": str(images), "output_dir": str(tmp_path / "b"), "track": False, "logging_file": False}
    with pytest.raises(Exception) as caught:
        monai.bundle.run(config_file=config, **options)
    error = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, WeightsMissingError) and str(error) == sentence
    assert not (tmp_path / "b" / "cache").exists()


def test_an_unknown_backbone_is_one_sentence(images, tmp_path, capsys):
    arguments = ["--backbone", "no_such_net", "--random-weights"]
    assert main(["distill", str(images), "--output", str(tmp_path / "out"), *arguments]) == 2
    assert "has no model 'no_such_net'" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_folder_of_another_training_is_refused(images, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds model.pt of another training"):
        monai_agglo.agglomerate(images, None, tmp_path, progress=False, **SMALL)


def test_no_student_is_one_sentence(distilled, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no student"):
        monai_agglo.load_student(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no student"):
        monai_agglo.load_student(tmp_path)
    shutil.copy(distilled[0] / "model.pt", tmp_path)
    with pytest.raises(CheckpointError, match=r"no student's card beside it: neither model.json nor student.json"):
        monai_agglo.load_student(tmp_path)


def test_the_card_of_other_weights_is_refused(distilled, tmp_path):
    shutil.copy(distilled[0] / "student.json", tmp_path)
    state = weights(distilled[0])
    key = next(iter(state))
    torch.save({**state, key: state[key] + 1}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="is the card of other weights than model.pt"):
        monai_agglo.load_student(tmp_path)


def test_the_face_is_light():
    script = "import sys, monai_agglo; print(sorted({'torch', 'numpy', 'monai'} & set(sys.modules)), *dir(monai_agglo))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[]") and "agglomerate" in done.stdout and "load_student" in done.stdout


def test_inference_knows_a_random_student_by_the_card_of_its_model_pt(distilled):
    from monai_agglo.handlers import StudentLoader

    network = StudentEncoder("test_efficientnet")
    loader = StudentLoader(distilled[0] / "model.pt", network, size=128)
    loader.load()
    assert loader.random_weights and equal(network.state_dict(), distilled[1].state_dict())
