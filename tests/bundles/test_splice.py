"""A student that is distilled in SAM's space is prompted with SAM's decoder: its masks come to be the teacher's."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_agglo.__main__ import main
from monai_agglo.networks import StudentForSam
from monai_agglo.networks.sam_decoder import PromptSegmenter, SamDecoder
from monai_agglo.networks.teachers import teacher_class

from .distill import config, run, small
from .running import fails_because

STUDENT = {"backbone": "test_efficientnet", "out_channels": 8, "stride": 4}
NETWORK = {f"network_def#student#{key}": value for key, value in STUDENT.items()}


@pytest.fixture(scope="module")
def distilled(tiny_data, tmp_path_factory):
    """A LiteMedSAM of random numbers in the published layout, and a student distilled from it alone."""
    from teacher_states import enliven, of_shapes, tiny_vit_shapes, with_counters

    folder = tmp_path_factory.mktemp("spliced")
    published = folder / "weights" / "litemedsam" / "lite_medsam.pth"
    published.parent.mkdir(parents=True)
    decoder = enliven(SamDecoder(256).state_dict(), 5)
    torch.save({**with_counters(of_shapes(tiny_vit_shapes(1))), **decoder}, published)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        patch.setenv("AGGLO_WEIGHTS", str(folder / "weights"))
        patch.setenv("AGGLO_SHARED", str(folder / "none"))
        options = {"teachers": ["litemedsam"], "balancer": "single", "random_weights": False, "image_size": 256}
        options |= {"epochs": 12, "val_interval": 12, "lr": 0.01, "average_decay": 0.9, "track": False, "batch_size": 3}
        options |= {"augmentation": 0.1, "checkpoint_every": 0, "gradient_norms_every": 0}
        run("train", **small(folder / "out", folder / "p", dataset_dir=str(tiny_data), **options))
    return folder / "out", published


def test_masks_come_to_be_the_teacher_s(distilled, tiny_data, tmp_path, capsys, monkeypatch):
    folder, published = distilled
    path = tmp_path / "student_litemedsam.safetensors"
    assert main(["export-student", str(folder), str(path), "--keep", "litemedsam"]) == 0
    spliced, card = StudentForSam.read(path)
    assert card["parameters"] < card["parameters_in_all"] and card["random"] is False
    teacher, decoder = teacher_class("litemedsam")(published), SamDecoder(256, 64, published)
    cine = np.asarray(nib.load(tiny_data / "cine0.nii.gz").dataobj, np.float32).transpose(1, 0, 2)[..., 0]
    frame = torch.from_numpy((cine - cine.min()) / (cine.max() - cine.min()))[None, None]
    boxes = torch.tensor([[5, 5, 30, 30], [20, 10, 50, 40]])
    wanted = PromptSegmenter(teacher, decoder)(frame, boxes).flatten(1)
    new = StudentForSam("litemedsam", STUDENT)

    def agreement(encoder):
        logits = PromptSegmenter(encoder, decoder)(frame, boxes).flatten(1)
        return float(torch.corrcoef(torch.stack([logits.flatten(), wanted.flatten()]))[0, 1])

    assert agreement(spliced) > max(0.8, agreement(new) + 0.05), (agreement(spliced), agreement(new))

    monkeypatch.setenv("AGGLO_WEIGHTS", str(published.parents[1]))  # prompt.json finds the decoder by itself
    options = {"output_dir": str(tmp_path / "out"), "dataset_dir": str(tiny_data / "cine0.nii.gz"), **NETWORK}
    options |= {"weights": str(path), "box": [5, 5, 30, 30], "frame": 0, "logging_file": False}
    workflow = ConfigWorkflow(config_file=config("prompt"), workflow_type="infer", **options)
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    (mask,) = (tmp_path / "out").rglob("*_mask.nii.gz")
    found = np.asarray(nib.load(mask).dataobj)
    assert found.shape[:3] == (48, 56, 3) and set(np.unique(found)) <= {0, 1} and not found[:, :, 1:].any()


def test_prompt_mistakes_are_one_sentence(tiny_data, tmp_path):
    options = {"output_dir": str(tmp_path), "dataset_dir": str(tiny_data / "cine0.nii.gz"), **NETWORK}
    options |= {"box": [5, 5, 30, 30], "frame": 0, "logging_file": False}
    with fails_because(FileNotFoundError, "--keep litemedsam"):
        run("prompt", weights=str(tmp_path / "none.safetensors"), **options)
    run("prompt", random_weights=True, **options)
    assert list(tmp_path.rglob("*_mask_RANDOM.nii.gz"))
