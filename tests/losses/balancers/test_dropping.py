import pytest
import torch

from monai_agglo.losses.balancers import AdaLossBalancer, FixedWeights, TeacherDropping

LOSSES = [[1.0, 4.0, 2.0], [6.0, 3.0, 1.0]]


def kept_by(balancer, losses):
    """Which losses counted, (B, T)."""
    losses = torch.as_tensor(losses).clone().requires_grad_()
    balancer(losses).total.backward()
    return losses.grad != 0


def test_all_others_dropped_by_hand():
    losses = torch.tensor(LOSSES, requires_grad=True)
    balance = TeacherDropping(3, drop_probability=1.0)(losses)
    assert balance.total.item() == pytest.approx(5.0)  # (4 + 6) / 2
    assert balance.weights.tolist() == pytest.approx([0.5, 0.5, 0.0])
    balance.total.backward()
    assert losses.grad.tolist() == [pytest.approx([0, 0.5, 0]), pytest.approx([0.5, 0, 0])]


def test_none_dropped_is_the_inner_balancer():
    losses = torch.tensor(LOSSES)
    inner = FixedWeights(3, [1.0, 2.0, 3.0])
    balancer = TeacherDropping(3, inner=inner, drop_probability=0.0)
    assert balancer(losses).total.item() == pytest.approx(inner(losses).total.item())
    assert balancer(losses).weights.tolist() == pytest.approx([1.0, 2.0, 3.0]) and balancer.weights_sum == 6.0


def test_equal_inside_is_the_published_mean_over_what_is_kept():
    torch.manual_seed(0)
    losses = torch.rand(6, 3) + 0.1
    kept = kept_by(TeacherDropping(3, seed=4), losses)
    total = TeacherDropping(3, seed=4)(losses).total
    assert 6 < kept.sum() < 18
    assert total.item() == pytest.approx((losses * kept).sum().item() / kept.sum().item())


def test_largest_is_always_kept_and_the_others_half_of_the_time():
    torch.manual_seed(0)
    losses = torch.rand(2000, 3) + 0.1
    kept = kept_by(TeacherDropping(3), losses)
    largest = torch.zeros_like(kept).scatter(1, losses.argmax(1, keepdim=True), True)
    assert kept[largest].all()
    assert kept[~largest].float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_weighted_losses_may_be_compared_instead():
    losses = torch.tensor([[1.0, 900.0], [3.0, 1000.0]])
    for by, first_kept in (("loss", [False, False]), ("weighted", [False, True])):
        balancer = TeacherDropping(2, inner=AdaLossBalancer(2), drop_probability=1.0, by=by)
        balancer.after_step(torch.tensor([2.0, 950.0]))
        assert kept_by(balancer, losses)[:, 0].tolist() == first_kept


def test_inner_statistics_see_all_losses():
    balancer = TeacherDropping(2, inner="adaloss", inner_options={"decay": 0.5})
    balancer.after_step(torch.tensor([3.0, 5.0]))
    assert balancer.inner.running.value(torch.zeros(2)).tolist() == [3.0, 5.0]


@pytest.mark.parametrize(
    "options", [{"drop_probability": 1.5}, {"by": "scale"}, {"inner": "nobody"}, {"inner": AdaLossBalancer(2)}]
)
def test_bad_options(options):
    with pytest.raises(ValueError):
        TeacherDropping(3, **options)
