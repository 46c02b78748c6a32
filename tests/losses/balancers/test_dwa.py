import math

import pytest
import torch

from monai_agglo.losses.balancers import DWABalancer


def test_by_hand():
    balancer = DWABalancer(2, window=2, temperature=2.0)
    losses = torch.tensor([[1.0, 1.0]])
    for values in ((3.0, 10.0), (5.0, 30.0)):  # means 4 and 20
        assert balancer(losses).weights.tolist() == [0.5, 0.5]
        balancer.after_step(torch.tensor(values))
    for values in ((1.0, 19.0), (3.0, 21.0)):  # means 2 and 20
        assert balancer(losses).weights.tolist() == [0.5, 0.5]
        balancer.after_step(torch.tensor(values))
    weight = 1 / (1 + math.exp((1.0 - 0.5) / 2))  # the teacher that halved its loss gets less
    assert balancer(losses).weights.tolist() == pytest.approx([weight, 1 - weight])
    balancer.after_step(torch.tensor([9.0, 9.0]))  # the window is not full: nothing changes
    assert balancer(losses).weights.tolist() == pytest.approx([weight, 1 - weight])
    balancer.after_step(torch.tensor([9.0, float("nan")]))  # means 9 and 9
    weight = 1 / (1 + math.exp((9 / 20 - 9 / 2) / 2))
    assert balancer(losses).weights.tolist() == pytest.approx([weight, 1 - weight])


@pytest.mark.parametrize("options", [{"window": 0}, {"temperature": 0.0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="DWA needs"):
        DWABalancer(2, **options)
