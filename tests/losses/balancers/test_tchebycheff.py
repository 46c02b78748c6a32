import math

import pytest
import torch

from monai_agglo.losses.balancers import TchebycheffBalancer


def losses(*values):
    return torch.tensor([values, values], requires_grad=True)


def test_starts_equal_whatever_the_scales():
    balance = TchebycheffBalancer(2, ideal=[0.0, 60.0])(losses(2.0, 100.0))
    assert balance.weights.tolist() == pytest.approx([0.5, 0.5])
    assert balance.factors.tolist() == pytest.approx([0.5 / 2, 0.5 / 40])


def test_weights_by_hand():
    balancer = TchebycheffBalancer(2, ideal=[1.0, 1.0], smoothness=0.5, floor=0.1, decay=0.0)
    balancer.after_step(torch.tensor([3.0, 5.0]))  # ways of 2 and 4
    balancer.after_step(torch.tensor([2.0, 4.0]))  # of them 1/2 and 3/4 are left
    balance = balancer(losses(2.0, 4.0))
    ratio = math.exp((0.75 - 0.5) / 0.5)
    alpha = [0.05 + 0.9 / (1 + ratio), 0.05 + 0.9 * ratio / (1 + ratio)]
    assert balance.weights.tolist() == pytest.approx(alpha)
    assert balance.total.item() == pytest.approx(alpha[0] * 2 / 2 + alpha[1] * 4 / 4)


def test_gradient_is_that_of_the_smooth_maximum():
    """Without a running mean, and where the batch is that of the last step."""
    balancer = TchebycheffBalancer(3, ideal=[0.1, 0.2, 0.3], smoothness=0.2, floor=0.0, decay=0.0)
    start, now = torch.tensor([1.0, 2.0, 3.0]), (0.9, 1.0, 2.5)
    balancer.after_step(start)
    balancer.after_step(torch.tensor(now))
    ours, theirs = losses(*now), losses(*now)
    balancer(ours).total.backward()
    left = (theirs.mean(0) - balancer.ideal) / (start - balancer.ideal)
    (0.2 * (left / 0.2).logsumexp(0)).backward()
    assert torch.allclose(ours.grad, theirs.grad)


def test_the_teacher_retained_least_gets_the_most():
    balancer = TchebycheffBalancer(3, ideal=[0.2, 0.2, 0.2], smoothness=0.02, decay=0.9)
    for step in range(50):
        balancer.after_step(torch.tensor([1.0 - 0.01 * step, 1.0 - 0.012 * step, 1.0 - 0.005 * step]))
    slow, fast = balancer(losses(0.5, 0.4, 0.75)).weights[[2, 1]].tolist()
    assert slow > 0.8 and fast == pytest.approx(0.2 / 3, abs=1e-3)


def test_an_ideal_beyond_the_start_does_not_turn_the_loss_round():
    balance = TchebycheffBalancer(2, ideal=[5.0, 0.0])(losses(1.0, 1.0))
    assert (balance.factors >= 0).all() and torch.isfinite(balance.factors).all()


def test_steps_that_are_not_finite_do_not_count():
    balancer = TchebycheffBalancer(2)
    balancer.after_step(torch.tensor([float("nan"), 4.0]))
    assert balancer.known.tolist() == [False, True]
    balancer.after_step(torch.tensor([2.0, float("inf")]))
    assert balancer.start.tolist() == [2.0, 4.0]
    assert balancer(losses(2.0, 4.0)).weights.tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("options", [{"ideal": [0.1]}, {"ideal": [0.1, -1.0]}, {"ideal": [0.1, float("nan")]}])
def test_bad_ideal(options):
    with pytest.raises(ValueError, match="2 losses of at least 0"):
        TchebycheffBalancer(2, **options)


def test_bad_options():
    with pytest.raises(ValueError, match="above 0"):
        TchebycheffBalancer(2, smoothness=0.0)
    with pytest.raises(ValueError, match="floor"):
        TchebycheffBalancer(2, floor=1.0)
