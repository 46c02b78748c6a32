"""The loss against PyTorch's cross-entropy and a Dice that is worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from monai_agglo.losses import StructureLoss


def random_pair(shape=(2, 3, 8, 10, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, requires_grad=True)
    return logits, (torch.rand(shape, generator=generator) < 0.4).to(torch.uint8)


def test_cross_entropy_is_pytorchs():
    logits, target = random_pair()
    loss = StructureLoss(bce_weight=1, dice_weight=0)(logits, target)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits, target.float()))


def test_soft_dice_by_hand():
    # One frame of four pixels, probabilities 1/2: 2 of 4 true. 1 - (2 * 1 + 1) / (2 + 2 + 1) = 0.4
    target = torch.tensor([1, 1, 0, 0]).reshape(1, 1, 2, 2, 1)
    loss = StructureLoss(bce_weight=0, dice_weight=1)
    assert loss(torch.zeros(1, 1, 2, 2, 1), target).item() == pytest.approx(0.4)
    # Probabilities 0.75, 0.75, 0.25, 0.25: 1 - (2 * 1.5 + 1) / (2 + 2 + 1) = 0.2
    logits = math.log(3) * (2.0 * target - 1)
    assert loss(logits, target).item() == pytest.approx(0.2)
    assert loss(50.0 * (2.0 * target - 1), target).item() == pytest.approx(0, abs=1e-6)
    # 3 * ln 2 + 0.4 with the default weights
    assert StructureLoss()(torch.zeros(1, 1, 2, 2, 1), target).item() == pytest.approx(3 * math.log(2) + 0.4)


def test_each_structure_and_frame_counts_once():
    """Two frames: one gives 0.4 as above; from the other the structure is absent, and it has no Dice."""
    target = torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)
    target[0, 0, 0, :, 0] = 1
    loss = StructureLoss(bce_weight=0)
    assert loss(torch.zeros(1, 1, 2, 2, 2), target).item() == pytest.approx(0.4)
    # a second structure with one true pixel: 1 - (2 * 0.5 + 1) / (2 + 1 + 1) = 0.5; mean of 0.4 and 0.5
    two = torch.cat([target, torch.zeros_like(target)], 1)
    two[0, 1, 1, 1, 1] = 1
    assert loss(torch.zeros(1, 2, 2, 2, 2), two).item() == pytest.approx(0.45)


def test_unlabelled_has_no_gradient_and_no_value():
    logits, target = random_pair()
    target[0, 1, :, :, 2] = 255
    target[1, :, :, :, 0] = 255
    loss = StructureLoss()(logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    unknown = target == 255
    assert gradient[unknown].abs().max() == 0 and (gradient[~unknown] != 0).all()
    changed = torch.where(unknown, torch.full_like(logits, 7.0), logits)
    torch.testing.assert_close(StructureLoss()(changed, target), loss)


def test_value_with_unlabelled_is_that_of_the_labelled_part():
    logits, target = random_pair((1, 4, 6, 6, 3))
    partial = target.clone()
    partial[:, 2:] = 255
    torch.testing.assert_close(StructureLoss()(logits, partial), StructureLoss()(logits[:, :2], target[:, :2]))


@pytest.mark.parametrize("target", [torch.full((1, 2, 4, 4, 1), 255, dtype=torch.uint8)])
def test_nothing_labelled(target):
    logits = torch.randn(1, 2, 4, 4, 1, requires_grad=True)
    loss = StructureLoss()(logits, target)
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().max() == 0


def test_absent_structure_is_pushed_down_by_the_cross_entropy_alone():
    logits = torch.zeros(1, 1, 4, 4, 1, requires_grad=True)
    target = torch.zeros(1, 1, 4, 4, 1, dtype=torch.uint8)
    loss = StructureLoss(bce_weight=3, dice_weight=100)(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(3 * math.log(2))
    torch.testing.assert_close(logits.grad, torch.full_like(logits, 3 * 0.5 / 16))


def test_half_size_logits_see_averaged_masks():
    target = torch.zeros(1, 1, 4, 4, 1, dtype=torch.uint8)
    target[0, 0, :, 0] = 1  # half of the left blocks
    logits = torch.zeros(1, 1, 2, 2, 1)
    averaged = torch.tensor([[0.5, 0], [0.5, 0]]).reshape(1, 1, 2, 2, 1)
    bce = F.binary_cross_entropy_with_logits(logits, averaged)
    dice = 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    assert StructureLoss()(logits, target).item() == pytest.approx(3 * bce.item() + dice)
    target[:, :, :, :] = 255
    assert StructureLoss()(logits, target).item() == 0


def test_gradient_is_right():
    logits, target = random_pair((1, 2, 3, 3, 2))
    target[0, 1, :, :, 1] = 255
    torch.autograd.gradcheck(
        lambda x: StructureLoss()(x, target), logits.detach().double().requires_grad_(), atol=1e-3, eps=1e-2
    )


def test_half_precision_and_monai_tensors():
    logits, target = random_pair()
    loss = StructureLoss()(MetaTensor(logits.detach().bfloat16()), MetaTensor(target))
    assert type(loss) is torch.Tensor and loss.dtype == torch.float32
    torch.testing.assert_close(loss, StructureLoss()(logits.detach().bfloat16().float(), target))


def test_extreme_logits_stay_finite():
    logits, target = random_pair()
    big = (logits.detach() * 1e4).requires_grad_()
    loss = StructureLoss()(big, target)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(big.grad).all()


@pytest.mark.parametrize(
    "shape", [(1, 2, 8, 8, 2), (2, 2, 8, 8, 1), (2, 2, 8, 7, 2), (2, 2, 16, 8, 2), (2, 2, 3, 3, 2)]
)
def test_shapes_that_do_not_belong_together(shape):
    with pytest.raises(ValueError, match="do not belong together"):
        StructureLoss()(torch.zeros(shape), torch.zeros(2, 2, 8, 8, 2))
