import pytest
import torch

from monai_agglo.losses.balancers.running_mean import RunningMean


def test_hand_computed():
    mean = RunningMean(2, decay=0.5)
    assert mean.value(torch.tensor([7.0, 8.0])).tolist() == [7.0, 8.0]  # nothing seen: the value given
    mean.update(torch.tensor([4.0, 1.0]))
    assert mean.value(torch.zeros(2)).tolist() == [4.0, 1.0]  # exact from the first value on
    mean.update(torch.tensor([1.0, float("nan")]))
    # (0.25 * 4 + 0.5 * 1) / 0.75; what is not finite is passed over
    assert mean.value(torch.zeros(2)).tolist() == pytest.approx([2.0, 1.0])


def test_least_value_and_bad_decay():
    mean = RunningMean(1, eps=0.1)
    mean.update(torch.zeros(1))
    assert mean.value(torch.zeros(1)).item() == pytest.approx(0.1)
    with pytest.raises(ValueError, match="decay"):
        RunningMean(1, decay=1.0)
