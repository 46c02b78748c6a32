import numpy as np
import pytest
import torch

from monai_agglo.losses.balancers import RandomWeights


def sequence(balancer, count):
    return torch.stack([balancer(torch.ones(1, balancer.n_teachers)).weights for _ in range(count)])


def test_softmax_of_normal_numbers_of_the_seed():
    normal = torch.from_numpy(np.random.default_rng((5, 0, 0)).standard_normal(3, dtype="float32"))
    assert torch.equal(sequence(RandomWeights(3, seed=5), 1)[0], normal.softmax(0))


def test_sequences():
    first = sequence(RandomWeights(3, seed=1), 200)
    torch.manual_seed(0)  # nobody else's seed matters
    assert torch.equal(sequence(RandomWeights(3, seed=1), 200), first)
    assert not torch.equal(sequence(RandomWeights(3, seed=2), 200), first)
    assert len({tuple(row.tolist()) for row in first}) == 200
    assert first.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.05)


def test_equal_in_evaluation():
    assert RandomWeights(4).eval()(torch.ones(1, 4)).weights.tolist() == [0.25] * 4


def test_bad_seed():
    with pytest.raises(ValueError, match="seed"):
        RandomWeights(3, seed=-1)
