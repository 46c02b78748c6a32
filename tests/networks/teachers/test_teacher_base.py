"""What all teachers share: frozen, out of checkpoints, self-describing, strict about frames and weights."""

import copy
import json

import pytest
import torch
from small_teacher import SmallTeacher, published
from torch import nn

from monai_agglo.networks.teachers import (
    TEACHERS,
    CheckpointError,
    FrameError,
    WeightsMissingError,
    create_teacher,
    find_weights,
    teacher_class,
    weights_folders,
)


class Owner(nn.Module):
    """Such as a distillation engine's network: something that learns beside something that teaches."""

    def __init__(self, teacher):
        super().__init__()
        self.student = nn.Conv2d(1, 2, 3)
        self.teacher = teacher


@pytest.fixture
def teacher():
    return SmallTeacher(random_weights=True)


def frames(count=2, rows=40, columns=50):
    return torch.rand(count, 1, rows, columns, generator=torch.Generator().manual_seed(1))


def test_forward(teacher):
    features, affine, mask = teacher(frames())
    assert features.shape == (2, 4, 4, 4) and affine.shape == (3, 3) and mask.shape == (1, 1, 4, 4)
    assert not features.requires_grad


def test_a_frame_s_features_do_not_depend_on_its_batch(teacher):
    batch = frames(3)
    assert torch.allclose(teacher(batch).features[1:2], teacher(batch[1:2]).features, atol=1e-6)


def test_frozen_and_in_eval_mode_whatever_the_owner_does(teacher):
    owner = Owner(teacher).train()
    assert owner.student.training and not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_out_of_checkpoints(teacher):
    owner = Owner(teacher)
    saved = owner.state_dict()
    assert set(saved) == {"student.weight", "student.bias"}
    before = teacher.weights_hash()
    other = Owner(SmallTeacher(random_weights=True))
    result = other.load_state_dict(saved, strict=True)
    assert not result.missing_keys and torch.equal(other.student.weight, owner.student.weight)
    assert teacher.weights_hash() == before
    with pytest.raises(RuntimeError, match="nonsense"):
        other.load_state_dict({**saved, "nonsense": torch.zeros(1)}, strict=True)
    with pytest.raises(CheckpointError, match="in_checkpoint"):
        teacher.load_state_dict({})


def test_in_checkpoints_when_asked(teacher):
    owner = Owner(SmallTeacher(random_weights=True, in_checkpoint=True))
    state = owner.state_dict()
    assert "teacher.encoder.0.weight" in state
    state["teacher.encoder.1.bias"] = torch.full((4,), 3.0)
    owner.load_state_dict(state)
    assert owner.teacher.encoder[1].bias[0] == 3 and not owner.teacher.random_weights


def test_moves_and_copies(teacher):
    twin = copy.deepcopy(teacher).to(torch.float64).float()
    assert torch.equal(twin(frames()).features, teacher(frames()).features)


def test_random_weights_are_the_same_everywhere_and_marked(teacher, caplog):
    state = torch.random.get_rng_state()
    again = SmallTeacher(random_weights=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert again.weights_hash() == teacher.weights_hash() and teacher.weights_hash().startswith("random-")
    sheet = json.loads(json.dumps(teacher.describe()))
    assert sheet["random_weights"] is True and "RANDOM" in repr(teacher)
    assert "RANDOM" in caplog.text


def test_weights_or_random_but_not_both():
    for wrong in ({}, {"weights": "x.pt", "random_weights": True}):
        with pytest.raises(ValueError, match="either"):
            SmallTeacher(**wrong)


def test_loading(tmp_path, teacher):
    with torch.no_grad():
        teacher.encoder[0].weight.mul_(2)
    torch.save(published(teacher), tmp_path / "small.pt")
    loaded = SmallTeacher(tmp_path / "small.pt")
    assert torch.equal(loaded(frames()).features, teacher(frames()).features)
    sheet = loaded.describe()
    assert sheet["weights_file"] == "small.pt" and not sheet["random_weights"]
    assert sheet["weights_hash"] == teacher.weights_hash().removeprefix("random-")


def test_preprocessing_hash_follows_what_changes_pixels():
    from dataclasses import replace

    spec = SmallTeacher.spec
    assert spec.preprocessing_hash() == replace(spec, title="Other", licence="MIT").preprocessing_hash()
    assert spec.preprocessing_hash() != replace(spec, resample="pil_bicubic").preprocessing_hash()
    assert spec.preprocessing_hash() != replace(spec, mean=(0.4, 0.5, 0.5)).preprocessing_hash()


@pytest.mark.parametrize(
    "bad, message, at_fault",
    [
        (torch.full((1, 1, 40, 40), 0.3), "of one colour", (0,)),
        (torch.cat([frames(1), torch.full((1, 1, 40, 50), torch.nan), frames(1)]), "NaN", (1,)),
        (frames() * 65535, "outside \\[0, 1\\]", (0, 1)),
        ((frames() * 65535).to(torch.int32), "int32; scale them", ()),
        (frames(1, 1, 1), "1 x 1 pixels are too small", ()),
        (frames(1, 20, 10_000), "20 x 10000 pixels are too large", ()),
        (frames()[0], "\\(B, 1, H, W\\)", ()),
        (frames().expand(-1, 3, -1, -1), "\\(B, 1, H, W\\)", ()),
        (frames().numpy(), "ndarray", ()),
    ],
    ids=["one colour", "NaN", "16 bit", "integers", "1x1", "10000 wide", "3D", "RGB", "numpy"],
)
def test_bad_frames(teacher, bad, message, at_fault):
    with pytest.raises(FrameError, match=message) as error:
        teacher(bad)
    assert error.value.frames == at_fault
    assert len(str(error.value).splitlines()) == 1


def test_spec_must_make_sense():
    from dataclasses import replace

    with pytest.raises(ValueError, match="not one of mean/std and min_max"):
        replace(SmallTeacher.spec, min_max=True)
    with pytest.raises(ValueError, match="unknown geometry"):
        replace(SmallTeacher.spec, geometry="crop")


def test_the_registry_is_complete():
    for name in TEACHERS:
        spec = teacher_class(name).spec
        assert spec.name == name and spec.licence and spec.commercial and spec.citation and spec.files
        assert all(file.url.startswith(("https://", "pypi://")) for file in spec.files)


@pytest.mark.parametrize(
    "name, message",
    [("nobody", "known are medsam"), ("no.such.module:X", "no.such"), ("torch.nn:Linear", "no Teacher"),
     ("small_teacher:Nobody", "Nobody")],
)  # fmt: skip
def test_unknown_teachers(name, message):
    with pytest.raises(ValueError, match=message):
        teacher_class(name)


def test_by_dotted_name_and_found_weights(tmp_path, monkeypatch, teacher):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AGGLO_WEIGHTS", str(tmp_path / "named"))
    assert weights_folders() == [tmp_path / "named", tmp_path / "cache" / "monai_agglo" / "weights"]
    with pytest.raises(WeightsMissingError, match="python -m monai_agglo weights small_teacher:SmallTeacher") as error:
        create_teacher("small_teacher:SmallTeacher")
    assert len(str(error.value).splitlines()) == 1
    place = tmp_path / "cache" / "monai_agglo" / "weights" / "small" / "other.pt"
    place.parent.mkdir(parents=True)
    torch.save(published(teacher), place)
    assert find_weights(SmallTeacher.spec) == place
    assert not create_teacher("small_teacher:SmallTeacher").random_weights
    assert create_teacher("small_teacher:SmallTeacher", random_weights=True).random_weights
