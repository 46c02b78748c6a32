"""A student in a SAM teacher's place: with the teacher's own features it gives the teacher's masks."""

import json

import numpy as np
import pytest
import torch
from teacher_states import enliven, of_shapes, relative, tiny_vit_shapes, with_counters

from monai_agglo.bundle.exports.student import export_student
from monai_agglo.data.student_dataset import fit_to_square
from monai_agglo.engines import Learner
from monai_agglo.handlers import PromptStudentLoader
from monai_agglo.losses import TargetSpace
from monai_agglo.networks import StudentEncoder, StudentForSam, StudentPromptNetwork, read_student
from monai_agglo.networks.sam_decoder import PromptSegmenter, SamDecoder
from monai_agglo.networks.student_heads import StudentOutput
from monai_agglo.networks.teachers import CheckpointError, teacher_class

OPTIONS = {"backbone": "test_efficientnet", "out_channels": 8, "stride": 4}
BOXES = torch.tensor([[20, 15, 70, 60], [50, 30, 110, 90]])


class Cells:
    """Mean and covariance of the cells of some maps."""

    def __init__(self, features):
        cells = features.permute(0, 2, 3, 1).flatten(0, 2).double()
        self.count, self.mean, self.covariance = len(cells), cells.mean(0), cells.T.cov()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A LiteMedSAM of random numbers in the published layout."""
    path = tmp_path_factory.mktemp("weights") / "litemedsam" / "lite_medsam.pth"
    path.parent.mkdir()
    decoder = enliven(SamDecoder(256).state_dict(), 5)
    torch.save({**with_counters(of_shapes(tiny_vit_shapes(1))), **decoder}, path)
    return path


@pytest.fixture(scope="module")
def teacher(published, picture):
    """The teacher, a frame, and its features there."""
    found = teacher_class("litemedsam")(published)
    frame = torch.from_numpy(picture(100, 120) / 255).float()[None, None]
    return found, frame, found(frame)


def distilled(folder, teacher, kind, **settings):
    """A checkpoint and a card as a training leaves them."""
    torch.manual_seed(1)
    learner = Learner(
        "student", StudentEncoder(**OPTIONS), {"litemedsam": (256, 32, 32), "other": (5, 4, 4)}, 10, **settings
    )
    maps = {"litemedsam": Cells(teacher[2].features), "other": Cells(torch.rand(2, 5, 4, 4))}
    space = TargetSpace(kind, maps)
    if kind == "running":
        space({"litemedsam": teacher[2].features, "other": torch.rand(2, 5, 4, 4)})
    objects = {"student/student": learner.state_dict(), "space": space.state_dict()}
    torch.save({"objects": objects, "engine": {}, "random": {}}, folder / "checkpoint.pt")
    card = {"method": learner.settings, "targets": kind, "image_size": 256, "random": False, "worst_r2": 0.1}
    (folder / "student.json").write_text(json.dumps(card))
    return learner, space.eval()


@pytest.mark.parametrize("kind", ["identity", "standardise", "running", "phi_s"])
def test_the_teacher_s_own_features_give_the_teacher_s_masks(kind, teacher, published, tmp_path):
    """Normalised, written, read, the normalisation undone, decoded: nothing is lost on the way."""
    _, space = distilled(tmp_path, teacher, kind)
    path = export_student(tmp_path, tmp_path / "s.safetensors", keep="litemedsam")
    spliced, card = StudentForSam.read(path)
    assert card["kept"] == "litemedsam" and not spliced.random_weights
    live, frame, output = teacher
    targets = space({"litemedsam": output.features})
    spliced.heads.forward = lambda *inputs: StudentOutput(output.features, targets)
    decoder = SamDecoder(256, 64, published)
    expected, found = (PromptSegmenter(encoder, decoder)(frame, BOXES) for encoder in (live, spliced))
    assert relative(found, expected) < 1e-3
    given = spliced(frame)
    assert torch.allclose(given.affine, output.affine) and torch.allclose(given.mask, output.mask)


@pytest.mark.parametrize("shape", [(100, 120), (384, 512), (512, 300), (256, 256), (90, 256)])
def test_it_sees_what_it_was_trained_on(shape, picture):
    """The same square as the data set makes, to a grey level, padding included."""
    spliced, seen = StudentForSam("litemedsam", OPTIONS), []
    spliced.heads.student.encode = lambda image, encode=spliced.heads.student.encode: (
        seen.append(image),
        encode(image),
    )[1]
    frame = picture(*shape) / np.float32(255)
    with torch.no_grad():
        spliced(torch.from_numpy(frame)[None, None])
    square, _ = fit_to_square(frame, 256)
    assert seen[0].shape == (1, 1, 256, 256)
    assert np.abs(seen[0][0, 0].numpy() * 255 - square).max() <= 1.01


def test_the_network_is_the_parts_in_a_row(teacher, published, tmp_path):
    """Encoder, projector, inverse, decoder: what the loaded network gives is what they give one after another."""
    learner, space = distilled(tmp_path, teacher, "phi_s", projector="affine")
    path = export_student(tmp_path, tmp_path / "s.safetensors", keep="litemedsam")
    network = StudentPromptNetwork("litemedsam", student=OPTIONS, projector="affine")
    loader = PromptStudentLoader(path, network, decoder=published)
    loader.load()
    assert not loader.marked and not network.random_weights
    _, frame, _ = teacher
    averaged = learner.averaged.eval()
    square = torch.from_numpy(fit_to_square(frame[0, 0].numpy(), 256)[0]).float()[None, None] / 255
    with torch.no_grad():
        normalised = averaged.projectors["litemedsam"](averaged.student(square))
        features = space.inverse({"litemedsam": normalised})["litemedsam"]
        ours = network.teacher(frame).features
    assert relative(ours, features) < 0.05  # a grey level here and there
    prompt = torch.zeros(1, 3, 100, 120, 2)
    prompt[0, 0, :, :, 0] = frame[0, 0]
    prompt[0, 1, 15:61, 20:71, 0] = 1
    logits = network(prompt)
    expected = PromptSegmenter(network.teacher, SamDecoder(256, 64, published))(frame, torch.tensor([[20, 15, 70, 60]]))
    assert torch.allclose(logits[0, :, :, :, 0], expected[0], atol=1e-4) and bool((logits[..., 1] == -32).all())


def test_mistakes_are_one_sentence(teacher, published, tmp_path):
    distilled(tmp_path, teacher, "phi_s")
    path = tmp_path / "s.safetensors"
    with pytest.raises(ValueError, match="was not distilled from mobilesam but from litemedsam, other"):
        export_student(tmp_path, path, keep="mobilesam")
    with pytest.raises(ValueError, match="other has no mask decoder"):
        export_student(tmp_path, path, keep="other")
    with pytest.raises(FileNotFoundError, match="export-student CHECKPOINT"):
        PromptStudentLoader(path, StudentPromptNetwork("litemedsam", student=OPTIONS)).load()
    export_student(tmp_path, path, keep="litemedsam")
    with pytest.raises(ValueError, match="of another student than network_def: student"):
        PromptStudentLoader(path, StudentPromptNetwork("litemedsam", student={**OPTIONS, "stride": 8})).load()
    with pytest.raises(CheckpointError, match="wanted is a monai_agglo student: export"):
        read_student(path)
    plain = export_student(tmp_path, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="with a teacher's space: export"):
        StudentForSam.read(plain)
    with pytest.raises(ValueError, match="finer features"):
        StudentPromptNetwork("medsam2")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    (tmp_path / "student.json").unlink()
    with pytest.raises(ValueError, match="unfinished training"):
        export_student(tmp_path, path, keep="litemedsam")
    assert state["objects"].keys() == {"student/student", "space"}
