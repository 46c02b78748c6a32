"""The moving average by hand."""

import pytest
import torch
from torch import nn

from monai_agglo.handlers import WeightAverage


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.norm = nn.BatchNorm1d(1)


def step(average, network, value):
    with torch.no_grad():
        network.weight.fill_(value)
        network.norm.running_mean.fill_(value)
        network.norm.num_batches_tracked.fill_(int(value))
    average.update(None)


def test_arithmetic():
    network = Tiny()
    average = WeightAverage(network, decay=0.5)
    step(average, network, 11.0)  # the decay of the first step is 2/11: 0 * 2/11 + 11 * 9/11
    torch.testing.assert_close(average.averaged.weight.data, torch.full((2,), 9.0))
    torch.testing.assert_close(average.averaged.norm.running_mean, torch.full((1,), 9.0))
    step(average, network, 21.0)  # 3/12: 9 * 0.25 + 21 * 0.75
    torch.testing.assert_close(average.averaged.weight.data, torch.full((2,), 18.0))
    for _ in range(8):
        step(average, network, 18.0)
    step(average, network, 20.0)  # beyond the start: decay 0.5
    torch.testing.assert_close(average.averaged.weight.data, torch.full((2,), 19.0))
    assert average.averaged.norm.num_batches_tracked == 20 and average.steps == 11
    assert network.weight[0] == 20


def test_the_average_is_a_copy_in_evaluation_mode():
    network = Tiny().train()
    average = WeightAverage(network)
    assert not average.averaged.training and network.training
    assert not any(p.requires_grad for p in average.averaged.parameters()) and network.weight.requires_grad
    with torch.no_grad():
        network.weight.fill_(3)  # weights that a loader brought after construction
    average.start(None)
    assert average.averaged.weight.tolist() == [3, 3]
    step(average, network, 5.0)
    before = average.averaged.weight.clone()
    average.start(None)  # later epochs keep the average
    assert torch.equal(average.averaged.weight, before)


def test_disabled_is_the_network_itself():
    network = Tiny()
    average = WeightAverage(network, enabled=False)
    assert average.averaged is network
    average.load_state_dict(average.state_dict())


def test_state_goes_on_where_it_was():
    one, two = Tiny(), Tiny()
    first, second = WeightAverage(one, 0.9), WeightAverage(two, 0.9)
    for value in (1.0, 4.0):
        step(first, one, value)
    second.load_state_dict(first.state_dict())
    for average, network in ((first, one), (second, two)):
        step(average, network, 7.0)
    assert torch.equal(first.averaged.weight, second.averaged.weight) and second.steps == 3
    with pytest.raises(RuntimeError, match="Missing key"):
        second.load_state_dict({"steps": 1, "averaged": {}})
