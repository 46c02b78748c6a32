import pytest

from monai_agglo.losses.balancers import BALANCERS, Balancer, MLPBalancer, make_balancer


def test_make():
    balancer = make_balancer("mlp", 4, hidden=3)
    assert isinstance(balancer, MLPBalancer) and balancer.first.weight.shape == (3, 4)
    assert all(issubclass(kind, Balancer) for kind in BALANCERS.values())


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="no balancer 'pcgrad': choose one of single, equal.*gradnorm, dropping"):
        make_balancer("pcgrad", 3)


def test_unknown_and_missing_options():
    with pytest.raises(ValueError, match="balancer dwa: .*windows"):
        make_balancer("dwa", 3, windows=3)
    with pytest.raises(ValueError, match="balancer fixed: .*weights"):
        make_balancer("fixed", 3)
    with pytest.raises(ValueError, match="balancer image_attention: .*student_channels"):
        make_balancer("image_attention", 3)
