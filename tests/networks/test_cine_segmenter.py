import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from monai_agglo.networks import CineSegmenter
from monai_agglo.swallow import TARGETS


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CineSegmenter().eval()


@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 45, 2), (64, 96, 3), (100, 33, 1)])
def test_any_size_from_sixteen(network, shape):
    with torch.no_grad():
        logits = network(torch.rand(1, 1, *shape))
    assert logits.shape == (1, len(TARGETS), *shape)
    assert torch.isfinite(logits).all()


def test_frames_are_independent_without_shift(network):
    image = torch.rand(2, 1, 48, 64, 3)
    with torch.no_grad():
        together = network(image)
        alone = network(image[1:, ..., 2:])
    assert torch.allclose(together[1, ..., 2], alone[0, ..., 0], atol=1e-5)


def test_cost_is_light(network):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 1, 512, 512, 1))
    assert counter.get_total_flops() / 2e9 < 0.8  # GMAC
    assert sum(p.numel() for p in network.parameters()) < 0.8e6


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_scripts(shift):
    network = CineSegmenter(temporal_shift=shift).eval()
    image = torch.rand(1, 1, 40, 70, 3)
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(network)(image), network(image), atol=1e-5)


def test_learns():
    torch.manual_seed(0)
    network = CineSegmenter(out_channels=1)
    image = torch.zeros(4, 1, 64, 64, 1)
    image[:, :, 16:40, 24:48] = 1
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(image), image).backward()
        optimizer.step()
    predicted = network(image) > 0
    dice = 2 * (predicted & image.bool()).sum() / (predicted.sum() + image.sum())
    assert dice > 0.9


@pytest.mark.parametrize("shape", [(1, 3, 32, 32, 1), (1, 1, 32, 32), (1, 1, 15, 32, 1)])
def test_bad_input_is_refused(network, shape):
    with pytest.raises(ValueError, match=r"expects|at least 16"):
        network(torch.rand(*shape))
