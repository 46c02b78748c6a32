"""What all balancers have in common."""

import copy
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monai_agglo.losses.balancers import Balancer, BalancerContext, make_balancer

from .cases import CASES, TEACHER_CHANNELS, T, batch, make, run

every_case = pytest.mark.parametrize("case", CASES)
quick = settings(max_examples=6, deadline=None, derandomize=True)
plain_losses = hnp.arrays(np.float32, (4, T), elements=st.floats(0.0625, 100, width=32))
exponents = hnp.arrays(np.float32, (4, T), elements=st.floats(-12, 12, width=32))


def stateful(case):
    """A balancer that has seen a few steps."""
    balancer = make(case)
    run(balancer, 5)
    return balancer


@every_case
@quick
@given(values=plain_losses, step=st.integers(0, 120))
def test_weights_sum_as_documented(case, values, step):
    balancer = make(case)
    balance = balancer(*batch(values, step))
    assert balance.weights.shape == balance.factors.shape == (T,)
    assert (balance.weights >= 0).all() and not balance.weights.requires_grad
    if balancer.weights_sum is not None:
        assert balance.weights.sum().item() == pytest.approx(balancer.weights_sum, rel=1e-4)


@every_case
@quick
@given(exponents=exponents, after=exponents)
def test_extreme_losses_stay_finite(case, exponents, after):
    balancer = make(case)
    for step, powers in enumerate((exponents, after, exponents)):
        losses, context = batch(10.0**powers, step)
        balance = balancer(losses, context)
        balance.total.backward()
        assert torch.isfinite(balance.total) and torch.isfinite(balance.weights).all()
        assert torch.isfinite(context.shared.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in balancer.parameters() if p.grad is not None)
        balancer.after_step(losses.detach().mean(0))
        balancer.zero_grad()


@every_case
@quick
@given(values=plain_losses)
def test_gradients_reach_the_losses_and_the_parameters(case, values):
    balancer = make(case)
    losses, context = batch(values)
    losses.retain_grad()
    balance = balancer(losses, context)
    losses.grad = None  # GradNorm's own passes leave theirs there
    balance.total.backward()
    # A loss counts what it was multiplied with, in the mean over images (more in the paper's forms, whose weights
    # depend on the losses themselves).
    if case != "mlp, paper":
        assert losses.grad.sum(0).numpy() == pytest.approx(balance.factors.numpy(), rel=1e-3, abs=1e-6)
    assert context.shared.grad.abs().sum() > 0
    parameters = dict(balancer.named_parameters())
    assert not parameters or any(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters.values())


@every_case
def test_state_makes_a_resumed_run_the_same(case):
    whole = make(case)
    expected = run(whole, 12)
    first = make(case)
    part = run(first, 5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    torch.rand(7), np.random.rand(3)  # other users of random numbers
    second = make(case, seed=99)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(torch.cat([part, run(second, 7, start=5)]), expected)
    state, again = whole.state_dict(), second.state_dict()
    assert state.keys() == again.keys() and all(torch.equal(state[key], again[key]) for key in state)


@every_case
def test_evaluation_changes_nothing(case):
    balancer = stateful(case).eval()
    before = copy.deepcopy(balancer.state_dict())
    losses, context = batch(torch.rand(4, T) + 0.5)
    with torch.no_grad():
        first, second = balancer(losses, context), balancer(losses, context)
    assert torch.equal(first.weights, second.weights) and torch.equal(first.total, second.total)
    after = balancer.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("case", ["equal", "adaloss", "uncertainty", "dwa", "famo", "gradnorm", "attention", "mlp"])
@quick
@given(
    order=st.permutations(range(T)), values=hnp.arrays(np.float32, (6, 4, T), elements=st.floats(0.125, 8, width=32))
)
def test_teachers_in_another_order_get_the_same_weights(case, order, values):
    """The learned ones hold too, because they start at 0, until their random first layers tell teachers apart."""
    steps = 2 if case in ("attention", "mlp") else len(values)
    found = []
    for turn in (list(range(T)), list(order)):
        balancer = make(case)
        rows = []
        for step in range(steps):
            losses, context = batch(values[step][:, turn], step)
            balance = balancer(losses, context)
            balance.total.backward()
            with torch.no_grad():
                if case != "mlp":
                    for parameter in balancer.parameters():
                        parameter -= 0.1 * (parameter.grad if parameter.grad is not None else 0)
            balancer.zero_grad()
            balancer.after_step(losses.detach().mean(0))
            rows.append(balance.weights)
        found.append(torch.stack(rows))
    assert found[1].numpy() == pytest.approx(found[0][:, list(order)].numpy(), rel=1e-3, abs=1e-5)


@every_case
def test_one_teacher_gets_everything(case):
    name, options = CASES[case]
    options = copy.deepcopy({k: v for k, v in options.items() if k not in ("teacher", "weights")})
    options |= {"weights": [1.0]} if name == "fixed" else {}
    options |= {"ideal": options["ideal"][:1]} if "ideal" in options else {}
    for place in (options, options.get("inner_options", {})):
        if "teacher_channels" in place:
            place.update(teacher_channels=TEACHER_CHANNELS[:1])
    balancer = make_balancer(name, 1, **options)
    balance = balancer(*batch([[2.0], [4.0]]))
    if balancer.weights_sum is not None:
        assert balance.weights.tolist() == pytest.approx([1.0])


@every_case
def test_half_precision_losses_are_weighed_in_float32(case):
    losses, context = batch(torch.rand(4, T) + 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        balance = make(case)(losses.bfloat16(), context)
    assert balance.total.dtype == balance.weights.dtype == torch.float32
    balance.total.backward()


@every_case
def test_a_bad_batch_does_not_poison_later_steps(case):
    balancer = stateful(case)
    balancer.after_step(torch.tensor([float("nan"), 1.0, float("inf")]))
    losses, context = batch(torch.rand(4, T) + 0.5, step=6)
    balance = balancer(losses, context)
    assert torch.isfinite(balance.total) and torch.isfinite(balance.weights).all()


@every_case
def test_wrong_shapes_are_refused(case):
    balancer = make(case)
    _, context = batch(torch.ones(2, T))
    for shape in ((T,), (2, T + 1), (0, T)):
        with pytest.raises(ValueError, match=f"takes losses \\(images, {T} teachers\\), not"):
            balancer(torch.ones(shape), context)
    with pytest.raises(ValueError, match=f"takes {T} losses"):
        balancer.after_step(torch.ones(T + 1))


@every_case
def test_what_is_needed_is_asked_for(case):
    balancer = make(case)
    losses, context = batch(torch.ones(2, T))
    if balancer.needs_shared or balancer.needs_pooled:
        with pytest.raises(ValueError, match="BalancerContext"):
            balancer(losses)
    else:
        balancer(losses)
    if balancer.needs_pooled:
        short = BalancerContext(student=context.student, teachers=context.teachers[:2])
        with pytest.raises(ValueError, match=f"features of {T} teachers: 2"):
            balancer(losses, short)


@pytest.mark.parametrize("number", [0, -1, 2.0, True, "3"])
def test_number_of_teachers(number):
    with pytest.raises(ValueError, match="at least 1"):
        Balancer(number)


def test_progress_is_a_share():
    assert BalancerContext(5, 10).progress == 0.5 and BalancerContext(20, 10).progress == 1.0
    assert BalancerContext(3, 0).progress == 1.0


def test_what_a_balancer_needs_is_known_beforehand():
    needs = {case: (make(case).needs_shared, make(case).needs_pooled, make(case).needs_recomputed) for case in CASES}
    assert {case for case, n in needs.items() if n[0]} == {c for c in CASES if "gradnorm" in c}
    assert {case for case, n in needs.items() if n[1]} == {c for c in CASES if "image" in c}
    assert {case for case, n in needs.items() if n[2]} == {"famo, recomputed"}
