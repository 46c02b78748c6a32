"""The clock of benchmarks that run on any device."""

import pytest
import torch

from experiments.benchmark.clock import device_title, now

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("name", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_the_clock_grows_and_the_device_has_a_name(name):
    device = torch.device(name)
    begin = now(device)
    torch.rand(64, 64, device=device).square().sum()
    assert now(device) > begin
    title = device_title(device, 3)
    assert title == ("cpu, 3 threads" if device.type == "cpu" else torch.cuda.get_device_name(device))
