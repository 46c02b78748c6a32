import math

import pytest
import torch

from monai_agglo.losses.balancers import FAMOBalancer

LOSSES = [[2.0, 8.0], [4.0, 8.0]]  # means 3 and 8


def test_gradient_is_that_of_the_weighted_log_losses():
    for rescale in (False, True):
        balancer = FAMOBalancer(2, rescale=rescale)
        balancer.xi.copy_(torch.tensor([math.log(3.0), 0.0]))
        ours, theirs = (torch.tensor(LOSSES, requires_grad=True) for _ in range(2))
        balance = balancer(ours)
        balance.total.backward()
        z = torch.tensor([0.75, 0.25])
        constant = (z / theirs.mean(0)).sum().detach() if rescale else 1.0
        (z * theirs.mean(0).log() / constant).sum().backward()
        assert torch.allclose(ours.grad, theirs.grad)
        assert balance.weights.tolist() == pytest.approx([0.75, 0.25])
        expected = torch.tensor([0.75 / 3, 0.25 / 8]) / constant
        assert balance.factors.tolist() == pytest.approx(expected.tolist())


def test_update_by_hand():
    balancer = FAMOBalancer(2, lr=0.1, decay=0.0)
    balancer.after_step(torch.tensor([4.0, 4.0]))
    assert balancer.xi.tolist() == [0.0, 0.0]  # nothing to compare with
    balancer.after_step(torch.tensor([1.0, 2.0]))  # fell by log 4 and log 2: z_i (d_i - mean) = +-0.25 log 2
    # The first step of Adam is lr times the sign; the faster teacher loses weight.
    assert balancer.xi.tolist() == pytest.approx([-0.1, 0.1], rel=1e-4)
    assert balancer.first_moment.tolist() == pytest.approx([0.025 * math.log(2), -0.025 * math.log(2)], rel=1e-5)


@pytest.mark.parametrize("recomputed", [False, True])
def test_adam_is_that_of_torch(recomputed):
    """Against torch's own, on the gradient by autograd."""
    balancer = FAMOBalancer(3, lr=0.05, decay=0.01, recomputed=recomputed)
    xi = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([xi], lr=0.05, weight_decay=0.01)
    values = torch.rand(8, 3) + 0.2
    for step in range(1, 8):
        before, after = (values[step], 0.9 * values[step - 1]) if recomputed else (values[step - 1], values[step])
        if recomputed:
            balancer(before[None])
        elif step == 1:
            balancer.after_step(before)
        balancer.after_step(after)
        fallen = (before + 1e-8).log() - (after + 1e-8).log()
        optimiser.zero_grad()
        (xi.softmax(0) * fallen).sum().backward()
        optimiser.step()
        assert balancer.xi.tolist() == pytest.approx(xi.tolist(), abs=1e-5)


def test_steps_that_are_not_finite_do_not_count():
    balancer = FAMOBalancer(2)
    balancer.after_step(torch.tensor([4.0, 4.0]))
    balancer.after_step(torch.tensor([1.0, float("inf")]))
    balancer.after_step(torch.tensor([1.0, 1.0]))
    assert balancer.xi.tolist() == [0.0, 0.0] and balancer.updates.item() == 0
    balancer.after_step(torch.tensor([1.0, 0.5]))
    assert balancer.xi[0] > balancer.xi[1]


def test_bad_options():
    with pytest.raises(ValueError, match="FAMO needs"):
        FAMOBalancer(2, lr=0.0)
