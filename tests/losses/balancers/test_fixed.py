import pytest
import torch

from monai_agglo.losses.balancers import FixedWeights


def test_weights_as_given():
    balancer = FixedWeights(2, weights=[0.5, 3])
    balance = balancer(torch.tensor([[1.0, 2.0], [3.0, 0.0]]))
    assert balance.total.item() == 0.5 * 2 + 3 * 1
    assert balance.weights.tolist() == [0.5, 3.0] and balancer.weights_sum == 3.5


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="2 numbers >= 0"):
        FixedWeights(2, weights)
