"""Gradients are clipped to a norm, and one that is not finite moves nothing."""

import pytest
import torch
from monai.engines import SupervisedTrainer

from monai_agglo.handlers import ClipGradients


def train(rows, max_norm=5.0, lr=1.0, steps=1):
    """One plain gradient step on sum(w * x), whose gradient is x."""
    network = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    batches = [{"image": torch.tensor([row]), "label": torch.zeros(1, 1)} for row in rows]
    trainer = SupervisedTrainer(
        device="cpu", max_epochs=1, train_data_loader=batches,
        network=network, optimizer=torch.optim.SGD(network.parameters(), lr), loss_function=lambda y, _: y.sum(),
        train_handlers=[ClipGradients(network, max_norm)], decollate=False,
    )  # fmt: skip
    trainer.run()
    return network.weight.detach()[0].tolist()


def test_long_gradients_become_as_long_as_allowed():
    assert train([[30.0, 40.0]]) == pytest.approx([-3, -4], abs=1e-4)


def test_short_gradients_stay():
    assert train([[0.3, 0.4]]) == pytest.approx([-0.3, -0.4])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_left_out(bad, caplog):
    assert train([[bad, 1.0], [0.3, 0.4]]) == pytest.approx([-0.3, -0.4])
    assert "step 1: the gradient is not finite" in caplog.text


def test_frozen_parameters_are_none_of_its_business():
    network = torch.nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    assert len(ClipGradients(network).parameters) == 1
