"""Projectors: the formulas by hand, the shapes, and that every target can be reached."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_agglo.networks.projectors import PROJECTORS, ChannelNorm, make_projector

LEVELS = (6, 10, 12)


def levels_of(grid, batch=2):
    """Three levels: twice as fine as the map, as fine, and half as fine."""
    generator = torch.Generator().manual_seed(1)
    sides = [(2 * grid[0], 2 * grid[1]), grid, (max(1, grid[0] // 2), max(1, grid[1] // 2))]
    return [torch.randn(batch, c, *side, generator=generator) for c, side in zip(LEVELS, sides)]


@pytest.mark.parametrize("grid", [(8, 8), (4, 10), (2, 2)])
@pytest.mark.parametrize("kind", PROJECTORS)
def test_any_grid_and_every_parameter_learns(kind, grid):
    projector = make_projector(kind, 8, 20, levels=LEVELS)
    features = torch.randn(2, 8, *grid, requires_grad=True)
    found = projector(features, levels_of(grid))
    assert found.shape == (2, 20, *grid)
    found.square().sum().backward()
    for name, parameter in projector.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    # Every output channel and every input feature takes part. (Keys' biases cancel in a softmax.)
    assert (features.grad.abs().sum((2, 3)) > 0).all()


@pytest.mark.parametrize("kind", ["mlp", "affine", "transformer"])
def test_levels_are_not_needed(kind):
    projector = make_projector(kind, 8, 5).eval()
    features = torch.randn(1, 8, 3, 5)
    torch.testing.assert_close(projector(features), projector(features, levels_of((3, 5), 1)))


@pytest.mark.parametrize("kind", ["mlp", "affine"])
def test_cells_are_projected_alone(kind):
    """1x1 convolutions: a map of one cell gives what that cell gives among others."""
    projector = make_projector(kind, 8, 5, hidden=7)
    features = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(projector(features)[:, :, 2:3, 1:2], projector(features[:, :, 2:3, 1:2]))


def test_mlp_by_hand():
    """Two channels: identity, normalisation over channels, GELU, sum. (3, 1) is normalised to (1, -1)."""
    projector = make_projector("mlp", 2, 1, hidden=2)
    first, _, _, last = projector.layers
    with torch.no_grad():
        first.weight.copy_(torch.eye(2)[:, :, None, None])
        first.bias.zero_()
        last.weight.copy_(torch.tensor([[2.0, 1.0]])[:, :, None, None])
        last.bias.fill_(0.5)
    found = projector(torch.tensor([3.0, 1.0]).reshape(1, 2, 1, 1)).item()
    assert found == pytest.approx(2 * 0.8413447 - 0.1586553 + 0.5, abs=1e-4)  # GELU(1) = 0.841, GELU(-1) = -0.159


def test_mlp_is_as_wide_as_promised():
    assert make_projector("mlp", 48, 768).layers[0].out_channels == 256
    assert make_projector("mlp", 48, 100).layers[0].out_channels == 100
    assert make_projector("mlp", 320, 64).layers[0].out_channels == 320
    assert make_projector("mlp", 48, 768, hidden=512).layers[0].out_channels == 512


def test_affine_is_a_linear_map_and_its_nonlinearity():
    projector = make_projector("affine", 3, 2)
    features = torch.randn(4, 3, 5, 5)
    plain = torch.einsum("oc,bchw->bohw", projector.linear.weight[..., 0, 0], features)
    plain = plain + projector.linear.bias[:, None, None]
    torch.testing.assert_close(projector(features), torch.where(plain > 0, plain, plain / 4))


@pytest.mark.parametrize("kind", PROJECTORS)
def test_targets_of_any_sign_and_size_are_reached_and_taught(kind):
    """Standardised features go far beyond one on both sides: a bias alone must reach them, from wrong sides of zero."""
    projector = make_projector(kind, 4, 2, levels=LEVELS)
    bias = next(p for name, p in reversed(list(projector.named_parameters())) if p.shape == (2,))
    features, levels = torch.randn(1, 4, 2, 2), levels_of((2, 2), 1)
    target = torch.tensor([9.0, -9.0]).reshape(1, 2, 1, 1)
    with torch.no_grad():
        bias.copy_(torch.tensor([-20.0, 20.0]))
    for _ in range(30):  # along the bias the output is piecewise linear: a full step lands, a kink costs another
        error = (projector(features, levels) - target).mean((0, 2, 3))
        (slope,) = torch.autograd.grad(error.sum(), bias)
        assert (slope > 0.1).all()
        with torch.no_grad():
            bias -= error / slope.clamp(min=1)
    torch.testing.assert_close(projector(features, levels).mean((0, 2, 3)), target.flatten(), rtol=0, atol=0.05)


def test_ladder_is_the_sum_of_its_rungs():
    grid = (4, 6)
    projector = make_projector("ladder", 8, 5, levels=LEVELS)
    features, (fine, same, coarse) = torch.randn(2, 8, *grid), levels_of(grid)
    a, b, c = projector.rungs
    expected = projector.layers(features) + a(F.avg_pool2d(fine, 2)) + b(same)
    expected = expected + F.interpolate(c(coarse), scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(projector(features, [fine, same, coarse]), expected)


def test_ladder_interpolating_after_the_last_layer_is_the_same_as_before_it():
    """The last layer is linear and without a bias, so the cheap order changes nothing."""
    rung = make_projector("ladder", 8, 5, levels=(6,)).rungs[0]
    inner = rung[:3](torch.randn(1, 6, 4, 4))
    up = nn.Upsample(scale_factor=2, mode="bilinear")
    torch.testing.assert_close(up(rung[3](inner)), rung[3](up(inner)))


def test_transformer_by_hand_for_one_cell():
    """With one cell the attention is 1: value and output map, then the MLP, each added to its input."""
    projector = make_projector("transformer", 64, 3)
    block, x = projector.block, torch.randn(1, 64, 1, 1)
    v = x[:, :, 0, 0]
    normed = F.layer_norm(v, (64,))
    attention = block.self_attn
    value = normed @ attention.in_proj_weight[128:].T + attention.in_proj_bias[128:]
    v = v + value @ attention.out_proj.weight.T + attention.out_proj.bias
    v = v + block.linear2(F.gelu(block.linear1(F.layer_norm(v, (64,)))))
    expected = projector.leave(F.layer_norm(v, (64,)))
    torch.testing.assert_close(projector(x)[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_transformer_lets_cells_speak_to_each_other():
    projector = make_projector("transformer", 48, 4, hidden=96)
    features = torch.randn(1, 48, 3, 3)
    other = features.clone()
    other[..., 2, 2] += 1
    changed = (projector(features) - projector(other)).abs().amax(1)
    assert (changed > 1e-6).all()
    # No position is special: cells given in another order come out in that order.
    torch.testing.assert_close(projector(features.flip(2)), projector(features).flip(2), rtol=1e-4, atol=1e-5)


def test_channel_norm_normalises_each_cell():
    x = 5 + 3 * torch.randn(2, 16, 3, 4)
    found = ChannelNorm(16)(x)
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", PROJECTORS)
def test_memory_layout_and_low_precision(kind):
    projector = make_projector(kind, 8, 5, levels=LEVELS).to(memory_format=torch.channels_last)
    features, levels = torch.randn(2, 8, 4, 4), levels_of((4, 4))
    expected = projector(features, levels)
    found = projector(
        features.contiguous(memory_format=torch.channels_last),
        [level.contiguous(memory_format=torch.channels_last) for level in levels],
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        low = projector(features, levels)
    assert (low.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="unknown projector 'linear'; known are mlp, affine, ladder, transformer"):
        make_projector("linear", 3, 4)
    with pytest.raises(ValueError, match="at least 1"):
        make_projector("mlp", 0, 4)
    with pytest.raises(ValueError, match="levels="):
        make_projector("ladder", 3, 4)
    ladder = make_projector("ladder", 8, 4, levels=LEVELS)
    with pytest.raises(ValueError, match="reads 3 levels, got 0"):
        ladder(torch.randn(1, 8, 4, 4))
    with pytest.raises(ValueError, match="multiples of 32"):
        ladder(torch.randn(1, 8, 7, 7), levels_of((4, 4), 1))
