"""vfss_seg runs on the CPU: every config, from the clone's folder and from its own."""

import json
import logging
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_agglo.prediction.run import predict
from monai_agglo.swallow import TARGET_NAMES, flatten

from .running import TINY, configs, fails_because, run

WORKFLOWS = {"train": ["train"], "from_scratch": ["train", "from_scratch"], "label": ["train", "label"]}
WORKFLOWS |= {"evaluate": ["train", "evaluate"], "inference": ["inference"]}


@pytest.fixture(scope="session")
def phantom_cine(tmp_path_factory):
    """A small phantom study as DICOM."""
    from monai_agglo.bundle import ensure_cine

    folder = tmp_path_factory.mktemp("phantom") / "p"
    return ensure_cine(folder, folder, size=96, frames=3)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_properties(at_clone, tiny_data, tmp_path, name):
    small = {"dataset_dir": str(tiny_data), "output_dir": str(tmp_path), "image_size": 48}
    if name == "inference":
        small["dataset_dir"] = str(tiny_data / "cine0.nii.gz")
    workflow = ConfigWorkflow(
        config_file=configs(at_clone, *WORKFLOWS[name]),
        workflow_type="infer" if name == "inference" else "train",
        logging_file=False,
        **small,
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_train_from_the_bundle_s_folder_on_partial_labels(clone, tiny_data, tmp_path, monkeypatch, caplog):
    """The shipped weights are the start and stay as they are; unlabelled structures and frames are no harm."""
    import shutil

    bundle = clone / "bundles" / "vfss_seg"
    monkeypatch.chdir(bundle)
    shipped = (bundle / "models" / "model.pt").read_bytes()
    data = shutil.copytree(tiny_data, tmp_path / "mine")
    listed = json.loads((data / "datalist.json").read_text())
    listed["training"][0] |= {"labelled_structures": ["bolus"]}
    listed["training"][1] |= {"labelled_structures": ["c3", "c4"], "labelled_frames": [1]}
    listed["validation"][0] |= {"labelled_structures": ["bolus", "mandible"]}
    (data / "datalist.json").write_text(json.dumps(listed))
    with caplog.at_level(logging.INFO):
        run(".", "train", dataset_dir=str(data), track=False, **{**TINY, "frames_per_case": 0})
    assert "weights from ./models/model.pt" in caplog.text or "weights from models/model.pt" in caplog.text
    assert (bundle / "models" / "model.pt").read_bytes() == shipped
    assert not list(data.rglob("*.pt"))
    start = torch.load(bundle / "models" / "model.pt", weights_only=True)
    best, final = (torch.load(bundle / "eval" / name, weights_only=True) for name in ("model.pt", "model_final.pt"))
    assert start.keys() == best.keys() == final.keys()
    assert any(not torch.equal(start[key], final[key]) for key in start)
    assert all(torch.isfinite(value).all() for value in final.values())
    # 3 + 1 + 3 frames have a label: only they are samples
    state = torch.load(bundle / "eval" / "checkpoint.pt", weights_only=True)
    assert state["engine"] == {"iteration": 2 * 3, "epoch_length": 3}


RECIPE = "['bundles/vfss_seg/configs/train.json','bundles/vfss_seg/configs/from_scratch.json']"


def test_going_on_from_the_shipped_weights(clone, tiny_data, tmp_path):
    """The documented command of the last training run, with smaller numbers."""
    options = ["--start_from_weights", "True", "--encoder", "", "--frames_per_case", "2", "--prepare_workers", "0"]
    options += ["--sizes", "[[1,32]]", "--epochs", "2", "--lr", "0.001", "--num_workers", "1", "--batch_size", "2"]
    options += ["--image_size", "48", "--dataset_dir", str(tiny_data), "--output_dir", str(tmp_path)]
    line = [sys.executable, "-m", "monai.bundle", "run", "--config_file", RECIPE]
    done = subprocess.run([*line, *options, "--track", "False"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "weights from bundles/vfss_seg/models/model.pt" in done.stderr + done.stdout
    start = torch.load(clone / "bundles" / "vfss_seg" / "models" / "model.pt", weights_only=True)
    final = torch.load(tmp_path / "model_final.pt", weights_only=True)
    assert start.keys() == final.keys() and any(not torch.equal(start[key], final[key]) for key in start)


def values(bundle, *names, **changes):
    """Values of the recipe by id."""
    parser = ConfigParser(ConfigParser.load_config_files(configs(bundle, *names)))
    parser.update(changes)
    ids = ("start_from_weights", "encoder", "patients", "data_seed", "splits", "epochs", "sizes", "lr", "best_path")
    ids += ("frames_per_case", "average_decay")
    drawn = parser.get_parsed_content("train#preprocessing#transforms#2").drawn_frames
    return {key: parser.get_parsed_content(key) for key in ids} | {"drawn_frames": drawn}


FINE_TUNING = {
    "start_from_weights": True, "encoder": None, "patients": 12, "data_seed": 1, "splits": [0.67, 0.33, 0.0],
    "epochs": 2, "sizes": [[1, 384]], "lr": 0.0002, "best_path": "bundles/vfss_seg/eval/model.pt",
    "frames_per_case": 8, "average_decay": 0.9, "drawn_frames": False,
}  # fmt: skip


def test_recipes(at_clone, monkeypatch):
    """What each file, and each host, trains with."""
    assert values(at_clone, "train") == FINE_TUNING
    student = {"encoder": "a.safetensors", "start_from_weights": False}
    assert values(at_clone, "train", encoder="a.safetensors") == {**FINE_TUNING, **student}
    scratch = {"start_from_weights": False, "patients": 1500, "data_seed": 0, "splits": [0.98, 0.02, 0.0], "lr": 0.002}
    scratch |= {"epochs": 15, "sizes": [[1, 256], [6, 384], [14, 512]], "frames_per_case": 4, "average_decay": 0.998}
    assert values(at_clone, "train", "from_scratch") == {**FINE_TUNING, **scratch}
    label = {"best_path": "bundles/vfss_seg/models/model.pt", "drawn_frames": True}
    assert values(at_clone, "train", "label") == {**FINE_TUNING, **label, "frames_per_case": 32}
    monkeypatch.setenv("MONAI_LABEL_APP_DIR", "app")  # as it is, in MONAI Label
    assert values(at_clone, "train") == {**FINE_TUNING, **label}


def test_parts_of_the_recipe_are_ids(at_clone, tiny_data, tmp_path):
    """``--optimizer#lr`` and its like reach what is trained with."""
    changes = {"optimizer#lr": 0.0123, "lr_scheduler#end_lr": 0.0005, "loss#dice_weight": 0.25}
    small = {**TINY, "dataset_dir": str(tiny_data), "output_dir": str(tmp_path), "logging_file": False}
    workflow = ConfigWorkflow(configs(at_clone, "train"), workflow_type="train", track=False, **small, **changes)
    trainer = workflow.parser.get_parsed_content("train#trainer")
    assert {group["initial_lr"] for group in trainer.optimizer.param_groups} == {0.0123}
    assert workflow.parser.get_parsed_content("lr_scheduler").end_lr == 0.0005
    assert trainer.loss_function.dice_weight == 0.25


def test_missing_weights_are_one_sentence(at_clone, tiny_data, tmp_path, caplog):
    for names, source in ((("train", "evaluate"), tiny_data), (("inference",), tiny_data / "cine0.nii.gz")):
        small = {"dataset_dir": str(source), "output_dir": str(tmp_path), "weights": "no.pt", "image_size": 48}
        with fails_because(FileNotFoundError, "there are no weights in no.pt: train first"):
            run(at_clone, *names, **small)
    with fails_because(FileNotFoundError, "there are no weights in no.pt"):  # named by the user, so it must be there
        run(
            at_clone,
            "train",
            dataset_dir=str(tiny_data),
            output_dir=str(tmp_path),
            weights="no.pt",
            track=False,
            **TINY,
        )


def test_a_wrong_folder_is_one_sentence(at_clone, tmp_path):
    with fails_because(ValueError, "there is no folder"):
        run(at_clone, "train", dataset_dir=str(tmp_path / "typo"), output_dir=str(tmp_path), track=False)
    with fails_because(ValueError, "there is no file or folder"):
        run(at_clone, "inference", dataset_dir=str(tmp_path / "typo"), output_dir=str(tmp_path))
    assert not list(tmp_path.rglob("*phantom*"))


def test_inference(at_clone, tiny_data, phantom_cine, tmp_path, caplog):
    """DICOM and NIfTI in; masks in source geometry, a video and a sheet out; a sentence for what is no cine."""
    import shutil

    source = tmp_path / "Zaphodson_Trillian"
    source.mkdir()
    shutil.copy(phantom_cine, source / "a.dcm")
    shutil.copy(tiny_data / "cine0.nii.gz", source)
    (source / "damaged.dcm").write_bytes((source / "a.dcm").read_bytes()[:3000])
    out = tmp_path / "out"
    run(at_clone, "inference", dataset_dir=str(source), output_dir=str(out), image_size=64)
    assert "damaged.dcm" in caplog.text and "2 of 3 cines" in caplog.text
    folders = sorted(out.iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert {path.name.removeprefix(folder.name) for path in folder.iterdir()} == {
            "_masks.nii.gz", "_overlay.mp4", "_contact_sheet.png"
        }  # fmt: skip
        assert "Zaphodson" not in str(folder.relative_to(out)) and min(p.stat().st_size for p in folder.iterdir()) > 300
    # the same masks, in the same place, as the streaming predict makes
    for name in ("a.dcm", "cine0.nii.gz"):
        predict(source / name, tmp_path / name, at_clone, size=64, device="cpu")
        streamed = nib.load(tmp_path / name / "masks.nii.gz")
        saved = [nib.load(next(folder.glob("*.nii.gz"))) for folder in folders]
        (same,) = [image for image in saved if image.shape == streamed.shape]
        assert same.get_data_dtype() == np.uint8
        np.testing.assert_allclose(same.affine, streamed.affine, atol=1e-5)
        masks, wanted = np.asarray(same.dataobj), np.asarray(streamed.dataobj)
        assert wanted.any() and not wanted.all()
        assert (masks != wanted).mean() < 1e-4
        if name == "cine0.nii.gz":
            channels = masks
    # one label map instead of channels
    small = {"image_size": 64, "output": "labels", "overlay": False}
    run(at_clone, "inference", dataset_dir=str(source / "cine0.nii.gz"), output_dir=str(tmp_path / "l"), **small)
    (path,) = [path for path in (tmp_path / "l").rglob("*") if path.is_file()]
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), flatten(channels, axis=-1))


def test_default_cine_is_a_phantom(at_clone, tmp_path):
    small = {"source#size": 64, "source#frames": 2, "phantom_dir": str(tmp_path / "p"), "image_size": 64}
    run(at_clone, "inference", output_dir=str(tmp_path / "out"), overlay=False, **small)
    (path,) = (tmp_path / "out").rglob("*.nii.gz")
    assert nib.load(path).shape == (64, 64, 2, 12)


def test_as_monai_label_uses_it(at_clone, tiny_data, monkeypatch):
    """Label takes preprocessing, inferer and postprocessing from the config, and nothing else of it."""
    from monai.transforms import SaveImaged

    monkeypatch.setenv("MONAI_LABEL_APP_DIR", "an app")
    parser = ConfigParser()
    parser.read_config(configs(at_clone, "inference")[0])
    parser.config.update({"bundle_root": str(at_clone.resolve()), "image_size": 64})
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(at_clone / "models" / "model.pt", weights_only=True))
    data = {"image": str(tiny_data / "cine0.nii.gz")}
    for step in parser.get_parsed_content("preprocessing").transforms:
        data = step(data)
    data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    for step in parser.get_parsed_content("postprocessing").transforms:
        if not isinstance(step, SaveImaged):
            data = step(data)
    pred = data["pred"]
    assert pred.shape == (1, 48, 56, 3)  # the (56, 48, 3) of the NIfTI file, rows first
    assert len(pred.unique()) > 2 and pred.max() <= len(TARGET_NAMES)
    itk_affine = nib.load(tiny_data / "cine0.nii.gz").affine
    swapped = itk_affine[:, [1, 0, 2, 3]]
    np.testing.assert_allclose(pred.affine.numpy(), swapped, atol=1e-6)
