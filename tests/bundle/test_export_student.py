"""The exported student: the same parameters and exactly the same outputs as in training, whatever trained it."""

import json

import pytest
import torch

from monai_agglo.__main__ import main
from monai_agglo.bundle.export.student import export_student
from monai_agglo.engines import Learner
from monai_agglo.handlers import EncoderLoader
from monai_agglo.networks import CineSegmenter, StudentEncoder, read_student
from monai_agglo.networks.teachers import CheckpointError

SHAPES = {"fine": (6, 4, 4), "coarse": (5, 2, 2)}
BACKBONE = "test_efficientnet"


def checkpoint(folder, *learners):
    objects = {f"student/{learner.name}": learner.state_dict() for learner in learners}
    torch.save({"objects": objects, "engine": {}, "random": {}}, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


@pytest.fixture
def learner():
    torch.manual_seed(0)
    found = Learner("small", StudentEncoder(BACKBONE, 16, 4), SHAPES, 10, balancer="mlp")
    for value in found.averaged.state_dict().values():  # the average is not the last step
        if value.is_floating_point():
            value.mul_(1.01)
    return found


def test_same_parameters_and_outputs(learner, tmp_path):
    (tmp_path / "small.json").write_text(json.dumps({"teachers": [{"name": "fine"}], "worst_r2": 0.5}))
    path = export_student(checkpoint(tmp_path, learner), tmp_path / "out" / "s.safetensors")
    student, card = read_student(path)
    alone = StudentEncoder(BACKBONE, 16, 4)
    assert {k: v.shape for k, v in student.state_dict().items()} == {k: v.shape for k, v in alone.state_dict().items()}
    count = sum(p.numel() for p in alone.parameters())
    assert card["parameters"] == count == sum(p.numel() for p in student.parameters())
    assert count < sum(p.numel() for p in learner.objective.parameters())  # heads stayed behind
    image = torch.rand(2, 1, 64, 48)
    with torch.no_grad():
        assert torch.equal(student(image), learner.averaged.student(image))
        last, bare = read_student(export_student(tmp_path, tmp_path / "last.safetensors", averaged=False))
        assert torch.equal(last(image), learner.network.student.eval()(image))
        assert not torch.equal(last(image), student(image))
    assert card["teachers"] == [{"name": "fine"}] and card["worst_r2"] == 0.5 and "worst_r2" not in bare


def test_command_and_several_students(learner, tmp_path, capsys):
    other = Learner("large", StudentEncoder(BACKBONE, 24, 8), SHAPES, 10)
    path = checkpoint(tmp_path, learner, other)
    assert main(["export-student", str(path), str(tmp_path / "a.safetensors")]) == 2
    assert "name one of small, large" in capsys.readouterr().err
    assert main(["export-student", str(path), str(tmp_path / "a.safetensors"), "--name", "large"]) == 0
    student, card = read_student(tmp_path / "a.safetensors")
    assert card["student"] == {"backbone": BACKBONE, "out_channels": 24, "stride": 8} and student.stride == 8


def test_a_segmenter_starts_from_it(learner, tmp_path):
    """Strictly: exactly these weights, or one sentence."""
    path = export_student(checkpoint(tmp_path, learner), tmp_path / "s.safetensors")
    network = CineSegmenter(BACKBONE, feature_channels=16, stride=4)
    EncoderLoader(path, network).load()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.eval().encoder((image - 0.5) * 4), learner.averaged.student(image))
    with pytest.raises(CheckpointError, match="does not hold the weights of this encoder") as caught:
        EncoderLoader(path, CineSegmenter(BACKBONE, feature_channels=24)).load()
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        EncoderLoader(tmp_path / "none.safetensors", network).load()


def test_files_that_do_not_fit(learner, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        export_student(tmp_path, tmp_path / "s.safetensors")
    torch.save({"objects": {"network": {}}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="holds no student"):
        export_student(tmp_path, tmp_path / "s.safetensors")
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is no checkpoint of a distillation"):
        export_student(tmp_path, tmp_path / "s.safetensors")
    path = export_student(checkpoint(tmp_path, learner), tmp_path / "s.safetensors")
    other = export_student(tmp_path, tmp_path / "t.safetensors", averaged=False)
    other.with_suffix(".json").write_bytes(path.with_suffix(".json").read_bytes())
    with pytest.raises(CheckpointError, match="card of other weights"):
        read_student(other)
    with pytest.raises(ValueError, match=r"\.safetensors file"):
        export_student(tmp_path, tmp_path / "s.pt")
