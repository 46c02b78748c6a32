"""The deployed cost of agglomeration is exactly nothing: same parameters, same graph, same operations."""

import json
import re

import pytest
import torch

from monai_agglo.bundle.export.student import export_student
from monai_agglo.engines import Learner
from monai_agglo.losses import BALANCERS
from monai_agglo.networks import PROJECTORS, CineSegmenter, StudentEncoder, read_student

MANY = {"fine": (6, 8, 8), "coarse": (5, 2, 2), "other": (9, 4, 4)}
OPTIONS = {"fixed": {"weights": [0.2, 0.3, 0.5]}}


def shape_of(network):
    """Modules by name and kind, tensors by name, shape and type."""
    modules = [(name, type(module)) for name, module in network.named_modules()]
    tensors = [(key, tuple(value.shape), value.dtype) for key, value in network.state_dict().items()]
    return modules, tensors, sum(p.numel() for p in network.parameters())


def graph_of(network, image):
    """Every operation that is executed, in order, with its constants; equal graphs take equal time."""
    graph = str(torch.jit.trace(network.eval(), image, check_trace=False).inlined_graph)
    return re.sub(r"___torch_mangle_\d+\.", "", graph)  # a number for every traced object


@pytest.fixture(scope="module")
def never_distilled():
    torch.manual_seed(0)
    return StudentEncoder("efficientvit_b0")


def exported(folder, balancer, teachers, projector="mlp"):
    torch.manual_seed(0)
    options = OPTIONS.get(balancer)
    learner = Learner(
        "student", StudentEncoder("efficientvit_b0"), teachers, 10, projector=projector, balancer=balancer,
        balancer_options=options,
    )  # fmt: skip
    torch.save({"objects": {"student/student": learner.state_dict()}}, folder / "checkpoint.pt")
    (folder / "student.json").write_text(json.dumps({"teachers": list(teachers)}))
    return export_student(folder, folder / "out.safetensors")


@pytest.mark.parametrize("balancer", ["single", "mlp", "image_attention", "dropping"])
def test_exported_students_are_one_network(balancer, never_distilled, tmp_path):
    teachers = {"fine": MANY["fine"]} if balancer == "single" else MANY
    projector = {"mlp": "ladder", "dropping": "transformer"}.get(balancer, "mlp")
    assert projector in PROJECTORS and balancer in BALANCERS
    path = exported(tmp_path, balancer, teachers, projector)
    student, _ = read_student(path)
    assert shape_of(student) == shape_of(never_distilled)
    image = torch.rand(1, 1, 64, 96)
    assert graph_of(student, image) == graph_of(never_distilled, image)


def test_files_are_equally_large(tmp_path):
    """To the byte, whatever the number of teachers: nothing of them is in it."""
    sizes = set()
    for number, balancer in enumerate(("single", "mlp")):
        folder = tmp_path / balancer
        folder.mkdir()
        teachers = {"fine": MANY["fine"]} if number == 0 else MANY
        sizes.add(exported(folder, balancer, teachers).stat().st_size)
    assert len(sizes) == 1


def test_the_segmenter_is_one_network_too(tmp_path):
    """Started from a student or from nothing, the deployed segmenter is the same."""
    from monai_agglo.handlers import EncoderLoader

    plain, started = CineSegmenter(), CineSegmenter()
    EncoderLoader(exported(tmp_path, "mlp", MANY), started).load()
    assert shape_of(plain) == shape_of(started)
    image = torch.rand(1, 1, 64, 64, 1)
    assert graph_of(plain, image) == graph_of(started, image)
