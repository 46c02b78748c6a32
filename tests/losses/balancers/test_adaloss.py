import pytest
import torch

from monai_agglo.losses.balancers import AdaLossBalancer


def test_by_hand():
    balancer = AdaLossBalancer(2, decay=0.5)
    losses = torch.tensor([[1.0, 100.0], [3.0, 300.0]], requires_grad=True)
    assert balancer(losses).total.item() == pytest.approx(1.0)  # nothing seen: each by itself
    balancer.after_step(torch.tensor([2.0, 200.0]))
    balancer.after_step(torch.tensor([8.0, 50.0]))
    # running means (0.25 * 2 + 0.5 * 8) / 0.75 = 6 and (50 + 25) / 0.75 = 100
    balance = balancer(losses)
    assert balance.total.item() == pytest.approx((2 / 6 + 200 / 100) / 2)
    assert balance.weights.tolist() == [0.5, 0.5] and balance.factors.tolist() == pytest.approx([1 / 12, 1 / 200])
    balance.total.backward()
    assert losses.grad[0].tolist() == pytest.approx([1 / 24, 1 / 400])


def test_scale_does_not_matter():
    one, other = AdaLossBalancer(2), AdaLossBalancer(2)
    values = torch.rand(5, 3, 2) + 0.1
    for value in values:
        got = one(value).total, other(value * torch.tensor([1.0, 1e4])).total
        assert got[0].item() == pytest.approx(got[1].item(), rel=1e-5)
        one.after_step(value.mean(0))
        other.after_step(value.mean(0) * torch.tensor([1.0, 1e4]))
