import pytest
import torch

from monai_agglo.networks import CORE_BACKBONES, LightEncoder


@pytest.mark.parametrize("backbone", [*CORE_BACKBONES, "mobilenetv4_conv_small"])
def test_every_core_backbone_gives_one_map(backbone):
    encoder = LightEncoder(backbone, out_channels=24).eval()
    with torch.no_grad():
        features = encoder(torch.rand(1, 1, 64, 96))
    assert features.shape == (1, 24, 16, 24)
    assert torch.isfinite(features).all()
    assert min(encoder.strides) == 4 and max(encoder.strides) == 32


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_strides(stride):
    encoder = LightEncoder(out_channels=16, stride=stride).eval()
    with torch.no_grad():
        assert encoder(torch.rand(2, 1, 64, 64)).shape == (2, 16, 64 // stride, 64 // stride)


def test_backbone_without_a_fine_level_is_upsampled():
    encoder = LightEncoder("efficientvit_m0", out_channels=16, stride=4).eval()
    with torch.no_grad():
        assert encoder(torch.rand(1, 1, 64, 64)).shape == (1, 16, 16, 16)


def test_every_level_reaches_the_fused_map():
    encoder = LightEncoder(out_channels=16)
    encoder(torch.rand(2, 1, 64, 64)).square().sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_three_channel_input():
    assert LightEncoder(in_channels=3, out_channels=8).eval()(torch.rand(1, 3, 32, 32)).shape == (1, 8, 8, 8)


@pytest.mark.parametrize("options, text", [({"backbone": "no_such"}, "no_such"), ({"stride": 5}, "stride")])
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        LightEncoder(**options)
