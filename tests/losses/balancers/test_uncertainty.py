import math

import pytest
import torch

from monai_agglo.losses.balancers import UncertaintyBalancer


def test_by_hand():
    balancer = UncertaintyBalancer(2)
    with torch.no_grad():
        balancer.log_variance.copy_(torch.tensor([0.0, math.log(4.0)]))
    losses = torch.tensor([[2.0, 8.0]], requires_grad=True)
    balance = balancer(losses)
    assert balance.weights.tolist() == pytest.approx([0.5, 0.125])
    assert balance.total.item() == pytest.approx(1 + 1 + math.log(4.0) / 2)
    balance.total.backward()
    assert balancer.log_variance.grad.tolist() == pytest.approx([-1 + 0.5, -1 + 0.5])  # 1/2 - l e^-s / 2
    assert losses.grad.tolist() == [pytest.approx([0.5, 0.125])]


def test_minimum_is_the_log_of_the_loss():
    balancer = UncertaintyBalancer(2)
    optimiser = torch.optim.Adam(balancer.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        balancer(torch.tensor([[0.2, 5.0]])).total.backward()
        optimiser.step()
    assert balancer.log_variance.tolist() == pytest.approx([math.log(0.2), math.log(5.0)], abs=1e-3)


def test_bound():
    balancer = UncertaintyBalancer(2, bound=1.0)
    with torch.no_grad():
        balancer.log_variance.copy_(torch.tensor([-3.0, 0.5]))
    balancer.after_step(torch.ones(2))
    assert balancer.log_variance.tolist() == [-1.0, 0.5]
    with pytest.raises(ValueError, match="within"):
        UncertaintyBalancer(2, initial=2.0, bound=1.0)
