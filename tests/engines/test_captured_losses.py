"""Steps that are replayed are the steps that would have been made."""

import pytest
import torch

from monai_agglo.engines import Learner
from monai_agglo.engines.captured_losses import _likeness
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
def test_a_batch_that_lies_elsewhere_is_computed_as_it_is():
    shifts = (0.0, 0.0, 3.0, 0.0, 3.0, 0.0, 0.0, 0.0)
    _, expected = trained("cuda", False, shifts=shifts)
    _, found = trained("cuda", True, shifts=shifts)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_nothing_is_recorded_on_a_cpu():
    _, expected = trained("cpu", False)
    asked, found = trained("cpu", True)
    assert asked.captured is None
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_batches_are_alike_in_shape_and_place():
    one = _likeness(batch(0))
    assert one == _likeness(batch(1))
    assert one != _likeness(batch(0, shift=1.0)) and one != _likeness(batch(0, count=3))
    mixed = batch(0)
    mixed.affines["wide"][1, 0, 2] += 1
    assert _likeness(mixed) is None
