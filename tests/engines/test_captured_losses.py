"""Steps that are replayed are the steps that would have been made."""

import pytest
import torch

from monai_agglo.engines import Learner
from monai_agglo.engines.captured_losses import _likeness, _Losses, weights_of
from monai_agglo.engines.distillation_batch import DistillationBatch
from monai_agglo.networks import StudentEncoder

SHAPES = {"wide": (12, 8, 8), "coarse": (20, 3, 3)}
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def batch(seed=0, device="cpu", shift=0.0, count=4):
    generator = torch.Generator().manual_seed(seed)
    targets = {n: torch.rand(count, *shape, generator=generator).to(device) for n, shape in SHAPES.items()}
    affines = {}
    for name, shape in SHAPES.items():
        scale = 64 / shape[1]
        affines[name] = torch.tensor([[scale, 0, (scale - 1) / 2 + shift], [0, scale, (scale - 1) / 2], [0, 0, 1]])
        affines[name] = affines[name].repeat(count, 1, 1)
    image = torch.rand(count, 1, 64, 64, generator=generator).to(device, memory_format=torch.channels_last)
    masks = {n: torch.ones(count, *shape[1:], device=device) for n, shape in SHAPES.items()}
    return DistillationBatch(image, torch.eye(3).repeat(count, 1, 1), affines, targets, targets, masks)


def trained(device, capture, balancer="mlp", shifts=(0.0,) * 8, bfloat16=False):
    torch.manual_seed(0)
    student = StudentEncoder("efficientvit_b0")
    learner = Learner("one", student, SHAPES, 8, device, hidden=16, balancer=balancer, capture=capture)
    losses = []
    for seed, shift in enumerate(shifts):
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            losses.append(learner.backward(batch(seed, device, shift)).losses)
            learner.step(batch(seed, device, shift))
    return learner, torch.stack(losses).cpu()


@CUDA
@pytest.mark.parametrize("balancer", ["equal", "mlp", "tchebycheff", "image_attention", "gradnorm", "famo"])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_replayed_steps_are_those_steps(balancer, bfloat16):
    _, expected = trained("cuda", False, balancer, bfloat16=bfloat16)
    fast, found = trained("cuda", True, balancer, bfloat16=bfloat16)
    assert (fast.captured is None) == (balancer == "gradnorm")
    torch.testing.assert_close(found, expected, rtol=2e-2 if bfloat16 else 1e-3, atol=1e-3)
    counts = [m.num_batches_tracked.item() for m in fast.network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert counts and set(counts) == {8}  # recording made no step


@CUDA
def test_a_batch_that_lies_elsewhere_is_replayed_too():
    shifts = (0.0, 0.0, 3.0, 0.0, 3.0, 0.0, 0.0, 0.0)
    _, expected = trained("cuda", False, shifts=shifts)
    _, found = trained("cuda", True, shifts=shifts)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_nothing_is_recorded_on_a_cpu():
    _, expected = trained("cpu", False)
    asked, found = trained("cpu", True)
    assert asked.captured is None
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def windows(device="cpu", count=4, seed=0):
    """A batch of which every frame is seen through a window of its own."""
    given = batch(seed, device, count=count)
    steps = torch.linspace(0.7, 1.4, count) + 0.01 * seed
    places = torch.eye(3).repeat(count, 1, 1)
    places[:, 0, 0] = places[:, 1, 1] = steps
    places[:, :2, 2] = torch.linspace(0, 9, count)[:, None]
    return given._replace(image_affine=places)


@CUDA
@pytest.mark.parametrize("projector", ["mlp", "ladder"])
def test_windows_are_replayed_wherever_they_lie(projector):
    losses = {}
    for capture in (False, True):
        torch.manual_seed(0)
        learner = Learner("one", StudentEncoder("efficientvit_b0"), SHAPES, 8, "cuda", projector, 16, capture=capture)
        losses[capture] = []
        for seed in range(8):
            given = windows("cuda", seed=seed)
            if capture and seed:
                assert learner.captured(given) is not None
            losses[capture].append(learner.backward(given).losses)
            learner.step(given)
    torch.testing.assert_close(torch.stack(losses[True]), torch.stack(losses[False]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("project_at", ["teacher", "student"])
@pytest.mark.parametrize("projector", ["mlp", "ladder"])
@pytest.mark.parametrize("given", [batch(shift=2.0), windows()], ids=["alike", "windows"])
def test_what_is_recorded_is_what_is_computed_otherwise(projector, project_at, given):
    torch.manual_seed(0)
    options = {"projector": projector, "hidden": 16, "project_at": project_at}
    learner = Learner("one", StudentEncoder("efficientvit_b0"), SHAPES, 8, **options)
    network = learner.network.eval()
    moves = network.moves(given.image, given.image_affine, given.affines)
    tensors = (given.image, *given.targets.values(), *given.masks.values(), *weights_of(moves))
    losses, shared = _Losses(network, learner.loss, given, moves)(*tensors)
    expected, predictions = network(given.image, given.image_affine, given.affines)
    torch.testing.assert_close(shared, expected, rtol=0, atol=0)
    terms = learner.loss.teacher_losses(predictions, given.targets, given.masks)
    torch.testing.assert_close(losses, terms, rtol=0, atol=0)


def test_batches_are_alike_in_shape_alone():
    network = Learner("one", StudentEncoder("efficientvit_b0"), SHAPES, 8, hidden=16).network

    def like(given):
        return _likeness(given, network.moves(given.image, given.image_affine, given.affines))

    assert like(batch(0)) == like(batch(1, shift=1.0)) != like(batch(0, count=3))
    assert like(windows()) == like(windows(seed=1)) != like(batch(0))  # one place for all needs fewer weights
