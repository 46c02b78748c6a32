import torch

from monai_agglo.losses.balancers import EqualWeights


def test_mean_over_teachers_and_images():
    losses = torch.tensor([[1.0, 2.0, 6.0], [3.0, 0.0, 0.0]], requires_grad=True)
    balance = EqualWeights(3)(losses)
    assert balance.total.item() == 2.0  # (2 + 1 + 3) / 3
    balance.total.backward()
    assert torch.allclose(losses.grad, torch.full((2, 3), 1 / 6))
