"""The floor, the entropy bonus and the running mean that stabilise the paper's balancers."""

import logging
import math

import numpy as np
import pytest
import torch
from torch import nn

from monai_agglo.losses.balancers import BalancerContext
from monai_agglo.losses.balancers.learned_softmax import LearnedSoftmax


class Scored(LearnedSoftmax):
    """Scores that are parameters."""

    def __init__(self, scores, **options):
        super().__init__(len(scores), **options)
        self.values = nn.Parameter(torch.tensor(scores))

    def scores(self, losses, context):
        self.looked_at = losses
        return self.values


def test_stabilised_form_by_hand():
    balancer = Scored([math.log(3.0), 0.0], entropy=0.8, entropy_end=0.4, floor=0.2, decay=0.5)
    balancer.after_step(torch.tensor([2.0, 10.0]))
    losses = torch.tensor([[1.0, 20.0], [5.0, 0.0]], requires_grad=True)  # means 3 and 10, relative 1.5 and 1
    balance = balancer(losses, BalancerContext(25, 100))
    alpha = [0.1 + 0.8 * 0.75, 0.1 + 0.8 * 0.25]  # 0.7, 0.3
    assert balance.weights.tolist() == pytest.approx(alpha)
    assert balance.factors.tolist() == pytest.approx([0.7 / 2, 0.3 / 10])
    assert balancer.looked_at.tolist() == pytest.approx([1.5, 1.0]) and not balancer.looked_at.requires_grad
    entropy = -sum(a * math.log(a) for a in alpha)
    factor = 0.7  # a quarter of the way from 0.8 to 0.4
    assert balance.total.item() == pytest.approx(0.7 * 1.5 + 0.3 * 1.0 - factor * entropy)
    balance.total.backward()
    # d total / d score_i = sum_j (relative_j + factor (log a_j + 1)) d a_j / d score_i, d a_0 / d score_0 = 0.8 * 3/16
    slope = (1.5 + factor * math.log(0.7)) - (1.0 + factor * math.log(0.3))
    assert balancer.values.grad.tolist() == pytest.approx([0.15 * slope, -0.15 * slope])
    assert losses.grad.numpy() == pytest.approx(np.array([[0.175, 0.015]] * 2))


def test_paper_form_by_hand_descends_towards_the_least_loss():
    balancer = Scored([0.0, 0.0], form="paper")
    losses = torch.tensor([[1.0, 3.0]], requires_grad=True)
    balance = balancer(losses)
    assert balance.total.item() == 2.0
    balance.total.backward()
    # alpha_i (l_i - mean): the easy teacher's score rises under descent
    assert balancer.values.grad.tolist() == pytest.approx([0.5 * (1 - 2), 0.5 * (3 - 2)])
    assert balancer.looked_at.requires_grad


@pytest.mark.parametrize("factor", [0.2, 1.0])
def test_stationary_weights_are_those_that_the_docstring_states(factor):
    balancer = Scored([0.0, 0.0, 0.0], entropy=factor, entropy_end=factor, floor=0.0)
    optimiser = torch.optim.Adam(balancer.parameters(), lr=0.05)
    balancer.after_step(torch.ones(3))
    losses = torch.tensor([[1.0, 0.8, 1.3]])
    for _ in range(400):
        optimiser.zero_grad()
        balance = balancer(losses)
        balance.total.backward()
        optimiser.step()
    expected = torch.softmax(-losses[0] / factor, 0)
    assert balance.weights.tolist() == pytest.approx(expected.tolist(), abs=1e-3)


def test_floor_holds_whatever_the_scores():
    balancer = Scored([0.0, 1e6, -1e6], floor=0.3)
    assert balancer(torch.ones(2, 3)).weights.min().item() == pytest.approx(0.1)


def test_paper_form_warns(caplog):
    with caplog.at_level(logging.WARNING):
        Scored([0.0], form="paper")
    assert "least loss" in caplog.text


@pytest.mark.parametrize("options", [{"form": "naive"}, {"floor": 1.0}, {"entropy": -1.0}, {"entropy_end": math.inf}])
def test_bad_options(options):
    with pytest.raises(ValueError):
        Scored([0.0, 0.0], **options)
