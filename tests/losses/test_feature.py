"""Feature losses: values worked out by hand, masks, and gradients that are never NaN."""

import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from monai_agglo.losses import FeatureLoss
from monai_agglo.losses.feature import FEATURE_LOSSES


def pair(shape=(2, 5, 3, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) for _ in range(2))


def tokens(*vectors):
    """Vectors (C,) side by side as one row of a map (1, C, 1, n)."""
    return torch.tensor(vectors).T[None, :, None, :].float()


# One token: prediction (3, 4), target (4, 3). cos = 24 / 25, so 1 - cos = 0.04. Differences -1 and 1: squares 1 and 1,
# smoothL1 1/2 each. 0.9 * 0.04 + 0.1 * 0.5 = 0.086.
# Another: (0, 3) against (1, 0): cos 0; differences -1 and 3: mean square 5, smoothL1 (0.5 + 2.5) / 2 = 1.5;
# 0.9 + 0.15 = 1.05.
GOLDEN = {"cosine_smooth_l1": (0.086, 1.05), "mse": (1.0, 5.0), "cosine": (0.04, 1.0)}


@pytest.mark.parametrize("kind", FEATURE_LOSSES)
def test_golden_values(kind):
    prediction, target = tokens([3, 4], [0, 3]), tokens([4, 3], [1, 0])
    loss = FeatureLoss(kind)
    assert loss.per_token(prediction, target).flatten().tolist() == pytest.approx(GOLDEN[kind], abs=1e-6)
    assert loss(prediction, target).tolist() == pytest.approx([sum(GOLDEN[kind]) / 2], abs=1e-6)
    only = torch.tensor([[[0.2, 0.7]]])
    assert loss(prediction, target, only).tolist() == pytest.approx([GOLDEN[kind][1]], abs=1e-6)


def test_factors():
    prediction, target = tokens([3, 4]), tokens([4, 3])
    assert FeatureLoss(cosine=0.5, smooth_l1=0.5)(prediction, target).item() == pytest.approx(0.27)
    assert FeatureLoss(cosine=0, smooth_l1=2)(prediction, target).item() == pytest.approx(1.0)


def test_against_pytorch():
    prediction, target = pair()
    cosine = 1 - F.cosine_similarity(prediction, target)
    smooth = F.smooth_l1_loss(prediction, target, reduction="none").mean(1)
    torch.testing.assert_close(FeatureLoss()(prediction, target), (0.9 * cosine + 0.1 * smooth).mean((1, 2)))
    torch.testing.assert_close(FeatureLoss("mse")(prediction, target).mean(), F.mse_loss(prediction, target))


@pytest.mark.parametrize("kind", FEATURE_LOSSES)
def test_a_perfect_prediction_costs_nothing(kind):
    prediction, _ = pair()
    assert FeatureLoss(kind)(prediction, prediction).abs().max() < 1e-6


def test_cosine_is_blind_to_length():
    prediction, target = pair()
    torch.testing.assert_close(FeatureLoss("cosine")(7 * prediction, target), FeatureLoss("cosine")(prediction, target))


@pytest.mark.parametrize("boolean", [True, False])
@pytest.mark.parametrize("kind", FEATURE_LOSSES)
def test_each_sample_averages_its_own_valid_tokens(kind, boolean):
    prediction, target = pair((3, 5, 3, 4))
    prediction.requires_grad_()
    mask = torch.rand(3, 3, 4, generator=torch.Generator().manual_seed(1))
    mask[2] = 0
    loss = FeatureLoss(kind)
    found = loss(prediction, target, mask >= 0.5 if boolean else mask)
    each = loss.per_token(prediction, target)
    expected = [each[i][mask[i] >= 0.5].mean() for i in (0, 1)]
    torch.testing.assert_close(found, torch.stack([*expected, torch.zeros(())]))
    (gradient,) = torch.autograd.grad(found.sum(), prediction)
    counts = (mask >= 0.5)[:, None].expand_as(gradient)
    assert gradient.isfinite().all() and (gradient[~counts] == 0).all() and (gradient[counts] != 0).all()


@pytest.mark.parametrize("kind", FEATURE_LOSSES)
def test_zero_features_have_finite_loss_and_gradient(kind):
    prediction, target = pair()
    for zeroed in ((True, False), (False, True), (True, True)):
        p, t = (torch.zeros_like(x) if zero else x.clone() for x, zero in zip((prediction, target), zeroed))
        p.requires_grad_()
        found = FeatureLoss(kind)(p, t)
        (gradient,) = torch.autograd.grad(found.sum(), p)
        assert found.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("kind", FEATURE_LOSSES)
def test_gradients_are_those_of_the_formula(kind):
    prediction, target = (x.double() for x in pair((1, 3, 2, 2)))
    loss = FeatureLoss(kind)
    prediction.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(prediction, target).sum(), prediction)
    step = 1e-2
    for index in [(0, 0, 0, 0), (0, 2, 1, 0), (0, 1, 1, 1)]:
        moved = torch.zeros_like(prediction)
        moved[index] = step
        up, down = loss(prediction + moved, target), loss(prediction - moved, target)
        assert gradient[index].item() == pytest.approx(((up - down) / (2 * step)).item(), abs=2e-3)


@pytest.mark.parametrize("kind", FEATURE_LOSSES)
def test_always_in_single_precision(kind):
    prediction, target = pair((2, 64, 4, 4))
    expected = FeatureLoss(kind)(prediction, target)
    with torch.autocast("cpu", torch.bfloat16):
        found = FeatureLoss(kind)(prediction, target)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    low = FeatureLoss(kind)(prediction.bfloat16(), MetaTensor(target))
    assert low.dtype == torch.float32 and type(low) is torch.Tensor
    torch.testing.assert_close(low, expected, rtol=2e-2, atol=1e-3)


def test_bad_requests_are_refused():
    prediction, target = pair()
    with pytest.raises(ValueError, match="unknown feature loss 'l2'; known are cosine_smooth_l1, mse, cosine"):
        FeatureLoss("l2")
    for factors in ((-1, 1), (0, 0)):
        with pytest.raises(ValueError, match="factors"):
            FeatureLoss(cosine=factors[0], smooth_l1=factors[1])
    with pytest.raises(ValueError, match="must both be"):
        FeatureLoss()(prediction, target[:, :2])
    with pytest.raises(ValueError, match=r"\(2, 3, 4\), not \(2, 1, 3, 4\)"):
        FeatureLoss()(prediction, target, torch.ones(2, 1, 3, 4))
