import math

import pytest
import torch

from monai_agglo.losses.balancers import AttentionBalancer, BalancerContext, ImageAttentionBalancer


def test_static_paper_form_by_hand():
    balancer = AttentionBalancer(2, form="paper", dimension=4)
    with torch.no_grad():
        balancer.query.copy_(torch.tensor([1.0, 2.0, 0.0, -1.0]))
        balancer.keys.copy_(torch.tensor([[1.0, 1.0, 5.0, 1.0], [0.0, 0.0, 1.0, 0.0]]))  # q . k = 2 and 0, / sqrt(4)
    losses = torch.tensor([[1.0, 2.0], [3.0, 6.0]], requires_grad=True)
    weight = math.e / (1 + math.e)
    balance = balancer(losses)
    assert balance.weights.tolist() == pytest.approx([weight, 1 - weight])
    assert balance.total.item() == pytest.approx(2 * weight + 4 * (1 - weight))
    balance.total.backward()
    # d L / d k_i = alpha_i (l_i - L) q / sqrt(d)
    expected = weight * (2 - balance.total.item()) * 0.5 * balancer.query.detach()
    assert balancer.keys.grad[0].tolist() == pytest.approx(expected.tolist())
    assert losses.grad[0].tolist() == pytest.approx([weight / 2, (1 - weight) / 2])


def test_static_stabilised_form_starts_equal_and_learns():
    balancer = AttentionBalancer(2)
    balancer.after_step(torch.tensor([1.0, 1.0]))
    balance = balancer(torch.tensor([[1.0, 2.0]]))
    assert balance.weights.tolist() == [0.5, 0.5]
    balance.total.backward()
    assert balancer.keys.grad.abs().sum() > 0


def image_balancer(form, **options):
    return ImageAttentionBalancer(2, student_channels=2, teacher_channels=[2, 1], form=form, dimension=1, **options)


def pooled(*rows, **options):
    return BalancerContext(student=torch.tensor(rows[0]), teachers=[torch.tensor(r) for r in rows[1:]], **options)


def test_per_image_paper_form_by_hand():
    balancer = image_balancer("paper")
    with torch.no_grad():
        balancer.query.weight.copy_(torch.tensor([[1.0, 0.0]]))
        balancer.query.bias.fill_(1.0)
        balancer.keys[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        balancer.keys[0].bias.zero_()
        balancer.keys[1].weight.fill_(2.0)
        balancer.keys[1].bias.fill_(-1.0)
    # image 1: q = 2, k = (0.5, 0), scores 1 and 0; image 2: q = 1, k = (0, 1), scores 0 and 1
    context = pooled([[1.0, 9.0], [0.0, 9.0]], [[7.0, 0.5], [7.0, 0.0]], [[0.5], [1.0]])
    losses = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    w = math.e / (1 + math.e)
    balance = balancer(losses, context)
    assert balance.total.item() == pytest.approx(((w + 2 * (1 - w)) + (3 * (1 - w) + 6 * w)) / 2)
    assert balance.weights.tolist() == pytest.approx([0.5, 0.5])  # w and 1 - w, in the mean over images


def test_per_image_weights_differ_between_images_and_keep_the_floor():
    balancer = image_balancer("stabilised", floor=0.4)
    with torch.no_grad():
        balancer.keys[0].weight.copy_(torch.tensor([[1e4, 0.0]]))
    context = pooled([[1.0, 2.0], [1.0, 2.0]], [[1.0, 3.0], [3.0, 1.0]], [[0.5], [1.0]])
    losses = torch.tensor([[1.0, 1.0], [1.0, 1.0]], requires_grad=True)
    balancer(losses, context).total.backward()
    got = losses.grad * 2  # the weights: the running mean is 1
    assert not torch.allclose(got[0], got[1]) and got.min().item() >= 0.2 - 1e-6
    assert torch.allclose(got.sum(1), torch.ones(2))


@pytest.mark.parametrize(("form", "reaches"), [("paper", True), ("stabilised", False)])
def test_only_the_paper_form_pays_the_student_for_asking_easy_teachers(form, reaches):
    student = torch.randn(3, 4, requires_grad=True)
    balancer = ImageAttentionBalancer(2, student_channels=4, teacher_channels=[3, 3], form=form)
    context = BalancerContext(student=student, teachers=[torch.randn(3, 3), torch.randn(3, 3)])
    balancer(torch.rand(3, 2, requires_grad=True), context).total.backward()
    assert (student.grad is not None) == reaches


def test_bad_options():
    with pytest.raises(ValueError, match="teacher_channels must be 3 numbers"):
        ImageAttentionBalancer(3, student_channels=4, teacher_channels=[3, 3])
    with pytest.raises(ValueError, match="at least one dimension"):
        AttentionBalancer(3, dimension=0)
