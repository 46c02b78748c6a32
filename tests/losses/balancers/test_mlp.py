import math

import pytest
import torch

from monai_agglo.losses.balancers import MLPBalancer


def gelu(x):
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_paper_form_by_hand():
    balancer = MLPBalancer(2, form="paper", hidden=2)
    with torch.no_grad():
        balancer.first.weight.copy_(torch.tensor([[1.0, 0.0], [0.5, -1.0]]))
        balancer.first.bias.copy_(torch.tensor([0.0, 0.5]))
        balancer.second.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0]]))
        balancer.second.bias.copy_(torch.tensor([0.1, 0.2]))
    losses = torch.tensor([[1.0, 2.0], [3.0, 0.0]], requires_grad=True)  # L = (2, 1)
    hidden = [gelu(2.0), gelu(0.5 * 2 - 1 + 0.5)]
    scores = [hidden[0] + 2 * hidden[1] + 0.1, -hidden[0] + 0.2]
    weight = 1 / (1 + math.exp(scores[1] - scores[0]))
    balance = balancer(losses)
    assert balance.weights.tolist() == pytest.approx([weight, 1 - weight])
    assert balance.total.item() == pytest.approx(2 * weight + (1 - weight))
    balance.total.backward()
    # As written, alpha depends on the losses: their gradient is not just alpha / B.
    assert losses.grad[0].tolist() != pytest.approx([weight / 2, (1 - weight) / 2], rel=1e-3)


def test_stabilised_form_starts_equal_and_keeps_losses_out_of_alpha():
    losses = torch.tensor([[1.0, 2000.0]], requires_grad=True)
    balance = MLPBalancer(2)(losses)
    assert balance.weights.tolist() == [0.5, 0.5]
    balance.total.backward()
    assert losses.grad.tolist() == [pytest.approx([0.5, 0.5 / 2000])]


def test_bad_width():
    with pytest.raises(ValueError, match="hidden unit"):
        MLPBalancer(2, hidden=0)
