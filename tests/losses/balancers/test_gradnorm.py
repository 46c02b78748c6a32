import math

import pytest
import torch

from monai_agglo.losses.balancers import BalancerContext, GradNormBalancer


def problem():
    """Two losses of a shared map (1, 1, 1, 2) at (3, 4), with gradients of norm 10 and 2."""
    shared = torch.tensor([[[[3.0, 4.0]]]], requires_grad=True)
    losses = torch.stack([shared.square().sum(), 2 * shared[..., 0].sum()])[None]  # 25 and 6
    return losses, BalancerContext(shared=shared)


def test_by_hand():
    balancer = GradNormBalancer(2, power=1.0, warmup=2)
    losses, context = problem()
    assert balancer(losses, context).total.item() == pytest.approx((25 + 6) / 2)  # no penalty yet
    assert balancer.norms.tolist() == [10.0, 2.0]
    balancer.after_step(torch.tensor([40.0, 5.0]))
    balancer.after_step(torch.tensor([60.0, 7.0]))
    balancer.after_step(torch.tensor([1.0, 1.0]))  # after the warm-up: not a first value
    assert balancer.first.tolist() == pytest.approx([50.0, 6.0])
    with torch.no_grad():
        balancer.logits.copy_(torch.tensor([math.log(3.0), 0.0]))
    losses, context = problem()
    losses.retain_grad()
    balance = balancer(losses, context)
    # alpha = (.75, .25), G = (7.5, .5), mean 4; shares (.5, 1), their mean .75, r = (2/3, 4/3)
    penalty = abs(7.5 / 4 - 2 / 3) + abs(0.5 / 4 - 4 / 3)
    assert balance.weights.tolist() == pytest.approx([0.75, 0.25])
    assert balance.total.item() == pytest.approx(0.75 * 25 + 0.25 * 6 + penalty)
    losses.grad = None  # the measuring passes leave theirs there
    balance.total.backward()
    # signs + and -, d alpha_0 / d logit_0 = 3/16: 3/16 (10/4 + 2/4); only the penalty trains the logits
    assert balancer.logits.grad.tolist() == pytest.approx([9 / 16, -9 / 16])
    assert losses.grad.tolist() == [pytest.approx([0.75, 0.25])]


def test_gradients_are_measured_now_and_then():
    balancer = GradNormBalancer(2, every=3)
    losses, context = problem()
    balancer(losses, BalancerContext(1, 10, context.shared))
    assert balancer.norms.tolist() == [1.0, 1.0]
    balancer(losses, BalancerContext(3, 10, context.shared))
    assert balancer.norms.tolist() == [10.0, 2.0]


def test_two_batches_before_one_backward():
    balancer = GradNormBalancer(2, warmup=1)
    balancer.after_step(torch.ones(2))
    first, second = balancer(*problem()), balancer(*problem())
    (first.total + second.total).backward()
    assert balancer.logits.grad.abs().sum() > 0


def test_a_map_that_the_losses_do_not_come_from_is_refused():
    losses, _ = problem()
    stranger = torch.ones(1, 1, 1, 2, requires_grad=True)
    with pytest.raises(ValueError, match=r"made from BalancerContext\.shared"):
        GradNormBalancer(2)(losses, BalancerContext(shared=stranger))
    with pytest.raises(ValueError, match="losses with gradient"):
        GradNormBalancer(2)(losses.detach(), BalancerContext(shared=stranger))


def test_bad_options():
    with pytest.raises(ValueError, match="GradNorm needs"):
        GradNormBalancer(2, every=0)
