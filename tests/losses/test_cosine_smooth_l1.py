"""The loss in blocks: values and gradients are those of the formula, whatever the layout and type of its maps."""

import pytest
import torch
import torch.nn.functional as F

from monai_agglo.losses import FeatureLoss
from monai_agglo.losses.cosine_smooth_l1 import TOKENS, cosine_smooth_l1

SHAPE = (3, 7, 17, 19)  # more tokens than a block, and not a whole number of blocks
LAST = torch.channels_last


def formula(p, t):
    return 0.9 * (1 - F.cosine_similarity(p, t)) + 0.1 * F.smooth_l1_loss(p, t, reduction="none").mean(1)


def both(loss, prediction, target, upstream):
    leaf = prediction.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(leaf, target)
    value.backward(upstream)
    return value.detach(), leaf.grad


@pytest.mark.parametrize("layouts", [(torch.contiguous_format, LAST), (LAST, torch.contiguous_format), (LAST, LAST)])
def test_as_the_formula(layouts):
    assert SHAPE[0] * SHAPE[2] * SHAPE[3] % TOKENS and SHAPE[0] * SHAPE[2] * SHAPE[3] > TOKENS
    p, t = (2 * torch.randn(SHAPE).to(memory_format=layout) for layout in layouts)
    upstream = torch.rand(SHAPE[0], *SHAPE[2:])
    value, gradient = both(lambda a, b: cosine_smooth_l1(a, b, 0.9, 0.1, 1e-6), p, t, upstream)
    wanted, slope = both(formula, p, t, upstream)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(gradient, slope)


def test_bfloat16_predictions_are_compared_in_float32():
    p, t, upstream = torch.randn(SHAPE).bfloat16(), torch.randn(SHAPE), torch.rand(SHAPE[0], *SHAPE[2:])
    value, gradient = both(lambda a, b: cosine_smooth_l1(a, b, 0.9, 0.1, 1e-6), p, t, upstream)
    wanted, slope = both(formula, p.float(), t, upstream)
    torch.testing.assert_close(value, wanted)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient.float(), slope, rtol=1e-2, atol=1e-4)


def test_features_without_a_direction():
    nothing, t = torch.zeros(1, 4, 1, 2), torch.ones(1, 4, 1, 2)
    value, gradient = both(lambda a, b: cosine_smooth_l1(a, b, 0.9, 0.1, 1e-6), nothing, t, torch.ones(1, 1, 2))
    assert value.flatten().tolist() == pytest.approx([0.9 + 0.1 * 0.5] * 2)
    # the length is taken to be 1e-6: per channel 0.9 / (1e-6 * 2) from the angle, 0.1 / 4 from the rest
    torch.testing.assert_close(gradient, torch.full_like(gradient, -0.9 / 2e-6 - 0.025))
    value, gradient = both(lambda a, b: cosine_smooth_l1(a, b, 0.9, 0.1, 1e-6), t, nothing, torch.ones(1, 1, 2))
    assert value.isfinite().all() and gradient.isfinite().all()


def test_a_target_that_learns_takes_the_formula():
    p, t = torch.randn(SHAPE), torch.randn(SHAPE, requires_grad=True)
    FeatureLoss()(p, t).sum().backward()
    assert t.grad.abs().sum() > 0


def test_nothing_is_kept_without_gradients():
    p, t = torch.randn(SHAPE), torch.randn(SHAPE)
    with torch.no_grad():
        value = cosine_smooth_l1(p, t, 0.9, 0.1, 1e-6)
    assert not value.requires_grad
    torch.testing.assert_close(value, formula(p, t))
