"""doctor --teacher finds silent errors; the example of docs/reference/teachers.md passes as it stands."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_agglo import __main__ as cli
from monai_agglo.bundle.doctor_teacher import doctor_teacher
from monai_agglo.networks.teachers import TEACHERS, teacher_class

ROOT = Path(__file__).parents[2]
from small_teacher import SmallTeacher, published  # noqa: E402


class WrongCount(SmallTeacher):
    spec = replace(SmallTeacher.spec, parameters=1)


class Transposed(SmallTeacher):
    """Rows and columns of the grid exchanged: every shape is right."""

    def build_encoder(self):
        class Flip(nn.Module):
            def forward(self, x):
                return x.transpose(2, 3)

        return nn.Sequential(*super().build_encoder(), Flip())


class Mixing(SmallTeacher):
    """Normalised over the batch."""

    def build_encoder(self):
        class OverBatch(nn.Module):
            def forward(self, x):
                return x - x.mean(0, keepdim=True) * 0.5

        return nn.Sequential(*super().build_encoder(), OverBatch())


class Trainable(SmallTeacher):
    def train(self, mode=True):
        self.requires_grad_(mode)
        return nn.Module.train(self, mode)


class Saved(SmallTeacher):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "in_checkpoint": True})


class Careless(SmallTeacher):
    def forward(self, frames):
        if frames.isnan().any():
            frames = torch.rand(1, 1, 64, 64)
        return super().forward(frames)


class WrongShape(SmallTeacher):
    spec = replace(SmallTeacher.spec, channels=5)


class NoLicence(SmallTeacher):
    spec = replace(SmallTeacher.spec, licence="")


class Breaking(SmallTeacher):
    def build_encoder(self):
        return nn.Sequential(*super().build_encoder(), nn.Flatten(), nn.Unflatten(1, (3, -1)))


def by_name(checks):
    return {check.name: check for check in checks}


def test_a_good_teacher():
    checks = doctor_teacher("small_teacher:SmallTeacher", random_weights=True)
    assert [check.name for check in checks if check.status != "ok"] == ["weights"]
    assert "RANDOM" in by_name(checks)["weights"].text


@pytest.mark.parametrize(
    "wrong, name, text",
    [
        (WrongCount, "parameters", "the data sheet says 1"),
        (Transposed, "place", "affine and features disagree"),
        (Mixing, "batch", "they differ by"),
        (Trainable, "frozen", "it leaves eval mode, it can be trained"),
        (Saved, "frozen", "it is saved with its owner"),
        (Careless, "bad frames", "it takes frames of NaN"),
        (WrongShape, "features", "expected finite float32"),
        (NoLicence, "data sheet", "licence is empty"),
        (Breaking, "features", "RuntimeError"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_faults_are_found(wrong, name, text):
    failed = [
        check for check in doctor_teacher(f"{__name__}:{wrong.__name__}", random_weights=True) if check.status == "fail"
    ]
    assert [check.name for check in failed] == [name] and text in failed[0].text
    assert all(len(str(check).splitlines()) == 1 for check in failed)


def test_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("AGGLO_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = "small_teacher:SmallTeacher"
    check = by_name(doctor_teacher(name))["weights"]
    assert check.status == "warn" and f"python -m monai_agglo weights {name}" in check.text and "RANDOM" in check.text
    # where random weights stand in, blurred features are no fault of the teacher's
    assert by_name(doctor_teacher(f"{__name__}:Transposed"))["place"].status == "warn"
    state = published(SmallTeacher(random_weights=True))
    (tmp_path / "small").mkdir()
    torch.save(state, tmp_path / "small" / "small.pt")
    assert by_name(doctor_teacher(name))["weights"].status == "ok"
    files = (replace(SmallTeacher.spec.files[0], sha256="0" * 64),)
    monkeypatch.setattr(SmallTeacher, "spec", replace(SmallTeacher.spec, files=files))
    assert "DIFFERS" in by_name(doctor_teacher(name))["weights"].text
    torch.save({"a.weight": state["a.weight"]}, tmp_path / "small" / "small.pt")
    check = by_name(doctor_teacher(name))["weights"]
    assert check.status == "fail" and "missing in the file" in check.text


def test_command_line(capsys):
    assert cli.main(["doctor", "--teacher", "small_teacher:SmallTeacher", "--random-weights"]) == 0
    assert "a spot changed in the frame" in capsys.readouterr().out
    assert cli.main(["doctor", "--teacher", f"{__name__}:WrongCount", "--random-weights"]) == 1
    assert cli.main(["doctor", "--teacher", "nobody"]) == 2
    assert "no teacher 'nobody'" in capsys.readouterr().err


@pytest.fixture
def documentation():
    return (ROOT / "docs" / "reference" / "teachers.md").read_text(encoding="utf-8")


def test_the_documented_example(documentation, tmp_path, monkeypatch):
    """At most 60 lines; with its registry line it passes the doctor and reads torchvision's own checkpoint."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", documentation, re.S) if "class ResNet18" in block)
    line = re.search(r'^ +"resnet18": "(.+)",$', documentation, re.M)[1]
    assert len(code.splitlines()) + 1 <= 60 and line == "monai_agglo.networks.teachers.resnet18:ResNet18"
    (tmp_path / "resnet18.py").write_text(code, encoding="utf-8")
    package = sys.modules["monai_agglo.networks.teachers"]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setitem(TEACHERS, "resnet18", line)
    try:
        from torchvision.models import resnet18

        reference = resnet18(weights=None).eval()
        torch.save(reference.state_dict(), tmp_path / "resnet18.pth")
        checks = doctor_teacher("resnet18", tmp_path / "resnet18.pth")
        assert [check.name for check in checks if check.status == "fail"] == []
        assert "DIFFERS" in by_name(checks)["weights"].text  # random, so not the published file
        teacher = teacher_class("resnet18")(tmp_path / "resnet18.pth")
        x = torch.rand(1, 3, 224, 224)
        with torch.no_grad():
            pooled = teacher.encoder(x).mean((2, 3))
            assert torch.allclose(reference.fc(pooled), reference(x), atol=1e-5)
    finally:
        sys.modules.pop("monai_agglo.networks.teachers.resnet18", None)


def test_the_documented_table_is_the_data_sheets(documentation):
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (\d+) px \| (\d+) x (\d+) x \d+ \| (\w+) \| (.+) \|$", documentation, re.M)
    assert [row[0] for row in rows] == list(TEACHERS)
    for name, size, channels, grid, geometry, licence in rows:
        spec = teacher_class(name).spec
        assert (int(size), int(channels), int(grid)) == (spec.input_size, spec.channels, spec.grid)
        assert geometry == spec.geometry and spec.licence.startswith(licence)
