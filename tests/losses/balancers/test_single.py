import pytest
import torch

from monai_agglo.losses.balancers import SingleTeacher


def test_only_one_counts_and_the_others_get_gradient_zero():
    losses = torch.tensor([[1.0, 2.0], [3.0, 6.0]], requires_grad=True)
    balance = SingleTeacher(2, teacher=1)(losses)
    assert balance.total.item() == 4.0 and balance.weights.tolist() == [0.0, 1.0]
    balance.total.backward()
    assert losses.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]


@pytest.mark.parametrize("teacher", [2, -1, "medsam"])
def test_no_such_teacher(teacher):
    with pytest.raises(ValueError, match="there is no teacher"):
        SingleTeacher(2, teacher)
