"""Autocast for training on a CPU: dense layers in bfloat16, depthwise convolutions in float32."""

import torch
from torch import nn

from monai_agglo.inferers.precision import autocast


def layers():
    torch.manual_seed(0)
    dense = nn.Conv2d(8, 8, 1)
    depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False)
    return dense, depthwise


def test_depthwise_convolutions_stay_in_float32_where_they_are_trained():
    dense, depthwise = layers()
    x = torch.randn(2, 8, 16, 16)
    with autocast(x, torch.bfloat16):
        first = dense(x)
        second = depthwise(first)
        third = dense(second)
    assert (first.dtype, second.dtype, third.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)
    second.sum().backward()
    again = depthwise(first.detach().float())
    torch.testing.assert_close(second, again)
    (wanted,) = torch.autograd.grad(again.sum(), depthwise.weight)
    torch.testing.assert_close(depthwise.weight.grad, wanted)


def test_nothing_is_kept_out_where_nothing_is_trained():
    _, depthwise = layers()
    x = torch.randn(2, 8, 16, 16)
    with torch.no_grad(), autocast(x, torch.bfloat16):
        assert depthwise(x).dtype == torch.bfloat16
    with autocast(x, None):
        assert depthwise(x).dtype == torch.float32


def test_arguments_by_name_and_autocast_switched_off_inside():
    _, depthwise = layers()
    x = torch.randn(2, 8, 16, 16)
    with autocast(x, torch.bfloat16):
        named = torch.conv2d(input=x, weight=depthwise.weight, stride=2, padding=1, groups=8)
        assert named.dtype == torch.float32
        with torch.autocast("cpu", enabled=False):
            half = torch.conv2d(x.bfloat16(), depthwise.weight.bfloat16(), None, 2, 1, 1, 8)
    assert half.dtype == torch.bfloat16
