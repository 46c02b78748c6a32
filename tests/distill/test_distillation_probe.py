"""Probes on labelled frames: an encoder that tells the structures apart is worth more than one that does not."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import write_tiny_dataset
from torch import nn

from monai_agglo.distill.segmentation_probe import SegmentationProbe, labelled_task


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_dataset(tmp_path_factory.mktemp("labelled"), counts=(4, 2, 1))


class Grey(nn.Module):
    """Sees grey values (``bands``), or nothing at all."""

    def __init__(self, bands):
        super().__init__()
        self.bands = nn.Parameter(torch.linspace(0, 1, 24) if bands else torch.zeros(24), requires_grad=False)
        self.seeing = bands

    def forward(self, image):
        x = torch.nn.functional.avg_pool2d(image, 2)
        seen = torch.exp(-(((x - self.bands[:, None, None]) / 0.06) ** 2))
        return seen if self.seeing else seen * 0 + torch.rand(1, 24, 1, 1)


def learner(name, encoder):
    return SimpleNamespace(name=name, averaged=SimpleNamespace(student=encoder))


def test_an_encoder_that_sees_is_worth_more(data, tmp_path):
    probe = SegmentationProbe(data, size=32, shots=(4, 0), steps=60, frames_per_cine=3)
    report = probe([learner("seeing", Grey(True)), learner("blind", Grey(False))], tmp_path)
    assert json.loads((tmp_path / "probe.json").read_text()) == report
    assert report["train_frames"] == 12 and report["scored_frames"] == 6 and report["part"] == "validation"
    seeing, blind = (report["students"][name] for name in ("seeing", "blind"))
    assert set(seeing) == {f"{kind}-{shots}" for kind in ("linear", "light") for shots in ("4", "all")}
    assert seeing["light-all"]["dice"] > blind["light-all"]["dice"] + 0.1, report
    assert set(seeing["light-all"]["structures"]) >= {"bolus", "c1"}


def test_task_is_the_data(data):
    task = labelled_task(data, "validation", 64, frames_per_cine=2)
    assert task.frames.shape == (12, 64, 64) and task.masks.shape == (12, 12, 64, 64)
    of = {part: {s for s, own in zip(task.sources, task.parts) if own == part} for part in ("train", "val")}
    assert len(of["train"]) == 4 and len(of["val"]) == 2 and not of["train"] & of["val"]
    rows = round(48 * 64 / 56)
    assert (task.frames[:, rows:] == 128).all() and not task.masks[:, :, rows:].any()
    assert task.masks[:, :, :rows].any((0, 2, 3)).all()


def test_partial_labels(data, tmp_path):
    """A structure that somewhere nobody labelled is left out; without any, or without masks, one sentence."""
    copy = Path(shutil.copytree(data, tmp_path / "copy"))
    listed = json.loads((copy / "datalist.json").read_text())
    listed["training"][0]["labelled_structures"] = ["bolus", "c3"]
    (copy / "datalist.json").write_text(json.dumps(listed))
    assert labelled_task(copy, "validation", 64).structures == ("c3", "bolus")
    listed["validation"][0]["labelled_structures"] = ["c1"]
    (copy / "datalist.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match="no structure is labelled in every frame"):
        labelled_task(copy, "validation", 64)
    for item in listed["validation"]:
        item.pop("label")
    (copy / "datalist.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match="no masks under 'training' and 'validation'"):
        labelled_task(copy, "validation", 64)
