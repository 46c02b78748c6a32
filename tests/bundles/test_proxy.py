"""The proxy route: many teachers into a large student, which is the only teacher of the small one."""

import numpy as np
import pytest
import torch

from monai_agglo.data.student_dataset import fit_to_square
from monai_agglo.networks import StudentEncoder, read_student, write_student
from monai_agglo.networks.teachers import CheckpointError
from monai_agglo.networks.teachers.student_teacher import StudentTeacher

from .distill import run, small
from .running import fails_because

LARGE = {"network_def#backbone": "lcnet_050", "network_def#out_channels": 24}


def test_proxy_route(tiny_data, tmp_path):
    """Two runs; marks, licences and hashes of the first go on into the second's card."""
    first, second = tmp_path / "proxy", tmp_path / "small"
    common = {"dataset_dir": str(tiny_data), "epochs": 1, "track": False}
    run("train", "proxy", **small(first, first / "p", **{**common, **LARGE}))
    proxy = first / "student.safetensors"
    run("train", "from_proxy", **small(second, second / "p", **common, proxy=str(proxy), random_weights=False))
    student, card = read_student(second / "student.safetensors")
    (sheet,) = card["teachers"]
    assert sheet["name"] == "proxy" and sheet["stored"][:3] == [24, 32, 32] and sheet["licence"] == "Apache-2.0"
    assert card["random"] and sheet["random_weights"] and sheet["weights_hash"].startswith("random-")
    assert card["method"]["balancer"] == "single" and card["retention"].keys() == {"proxy"}
    assert str(tmp_path) not in str(card)
    assert student.options["backbone"] == "test_efficientnet" and read_student(proxy)[0].out_channels == 24


@pytest.mark.parametrize("shape", [(100, 130), (300, 200)])
def test_it_says_what_the_student_says(shape, tmp_path):
    torch.manual_seed(3)
    student = StudentEncoder("test_efficientnet", 8).eval()
    path = write_student(tmp_path / "s.safetensors", student, {"image_size": 96, "teachers": {"a": "MIT", "b": "MIT"}})
    teacher = StudentTeacher(path)
    assert teacher.spec.licence == "MIT" and teacher.spec.grid == 24 and not teacher.random_weights
    frame = np.random.default_rng(0).random((shape[0] // 10, shape[1] // 10)).repeat(10, 0).repeat(10, 1)
    frame = frame.astype(np.float32)[: shape[0], : shape[1]]
    square, fit = fit_to_square(frame, 96)
    output = teacher(torch.from_numpy(frame)[None, None])
    with torch.no_grad():
        wanted = student(torch.from_numpy(square).float()[None, None] / 255)
    assert float((output.features - wanted).abs().max() / wanted.abs().max()) < 0.02  # rounding of grey levels
    torch.testing.assert_close(output.affine, fit.affine(24))


def test_mistakes_are_one_sentence(tiny_data, tmp_path):
    options = small(tmp_path, tmp_path / "p", dataset_dir=str(tiny_data), track=False)
    with fails_because(FileNotFoundError, "distil the proxy first"):
        run("train", "from_proxy", **options, proxy=str(tmp_path / "none.safetensors"))
    path = write_student(tmp_path / "s.safetensors", StudentEncoder("test_efficientnet", 8))
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace('"out_channels": 8', '"out_channels": 16'))
    with pytest.raises(CheckpointError, match="does not fit the model"):
        StudentTeacher(path)
