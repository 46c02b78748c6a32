"""The loss of the recipe: a weighted sum of masked losses, measured gradients, and sets that are refused."""

import pytest
import torch

from monai_agglo.losses import AgglomerationLoss, FeatureLoss, TargetSpace, check_teacher_set


class Statistics:
    count, mean, covariance = 100, torch.tensor([1.0, -2.0]), torch.tensor([[4.0, 0.5], [0.5, 1.0]])


def batch():
    torch.manual_seed(0)
    shared = torch.randn(2, 3, 4, 4, requires_grad=True)
    predictions = {"a": shared * 2, "b": shared[:, :2, ::2, ::2] + 1}
    targets = {name: torch.randn_like(value) for name, value in predictions.items()}
    masks = {"a": torch.ones(2, 4, 4), "b": torch.ones(2, 2, 2)}
    masks["a"][:, 2:] = 0.3
    return shared, predictions, targets, masks


def test_is_the_weighted_sum():
    shared, predictions, targets, masks = batch()
    loss = AgglomerationLoss(["a", "b"], FeatureLoss("mse"), "fixed", {"weights": [0.25, 0.75]})
    found = loss(predictions, targets, masks, shared, gradient_norms=True)
    each = [
        (predictions["a"] - targets["a"]).square().mean(1)[:, :2].mean(),
        (predictions["b"] - targets["b"]).square().mean(),
    ]
    torch.testing.assert_close(found.losses, torch.stack(each).detach())
    torch.testing.assert_close(found.total, 0.25 * each[0] + 0.75 * each[1])
    torch.testing.assert_close(found.weights, torch.tensor([0.25, 0.75]))
    for number, one in enumerate(each):
        (gradient,) = torch.autograd.grad(one, shared, retain_graph=True)
        torch.testing.assert_close(found.gradient_norms[number], gradient.norm())
    found.total.backward()  # measuring leaves the graph as it was
    assert shared.grad[:, :, 2:, 1::2].abs().sum() == 0 and shared.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["identity", "standardise", "phi_s", "running"])
def test_spaces_lead_back(kind):
    space = TargetSpace(kind, {"a": Statistics})
    features = {"a": torch.randn(2, 2, 3, 3) * 3}
    back = space.inverse(space(features, {"a": torch.ones(2, 3, 3)}))
    torch.testing.assert_close(back["a"], features["a"], atol=1e-4, rtol=1e-4)


def test_sets_that_cannot_be_agglomerated():
    with pytest.raises(ValueError, match="a is given twice"):
        check_teacher_set(["a", "b", "a"])
    with pytest.raises(ValueError, match="needs at least two teachers, and a is the only one"):
        AgglomerationLoss(["a"])
    with pytest.raises(ValueError, match="there is no teacher"):
        check_teacher_set([])
    with pytest.raises(ValueError, match="no balancer 'best'"):
        AgglomerationLoss(["a", "b"], balancer="best")
    assert AgglomerationLoss(["a"], balancer="single").teachers == ("a",)
