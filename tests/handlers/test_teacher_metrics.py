"""Per-teacher figures: means over an epoch, a warning for a collapsed weight, retention against a hand calculation."""

import logging
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine

from monai_agglo.handlers import RetentionMetric, TeacherLosses, WeightCollapse, metric_name
from monai_agglo.handlers.retention import Tally
from monai_agglo.losses import AgglomerationResult

TEACHERS = ("a", "b")


def result(losses, weights, norms=None):
    norms = None if norms is None else torch.tensor(norms)
    return AgglomerationResult(torch.tensor(sum(losses)), torch.tensor(losses), torch.tensor(weights), norms)


def trainer(results, *handlers):
    """An engine whose iterations give these results, by student."""
    engine = Engine(lambda engine, batch: {"results": batch})
    engine.state.metrics = {}
    for handler in handlers:
        handler.attach(engine)
    engine.run(results, max_epochs=1)
    return engine.state.metrics


def test_means_of_an_epoch():
    rows = [{"one": result([1.0, 4.0], [0.5, 0.5], [3.0, 5.0])}, {"one": result([3.0, 2.0], [0.9, 0.1])}]
    metrics = trainer(rows, TeacherLosses(TEACHERS))
    assert metrics["loss/a"] == 2 and metrics["loss/b"] == 3 and metrics["train_loss"] == 5
    assert metrics["weight/a"] == pytest.approx(0.7) and metrics["weight/b"] == pytest.approx(0.3)
    assert metrics["gradient_norm/a"] == 3 and metrics["gradient_norm/b"] == 5  # of the iteration that measured them


def test_several_students_have_names():
    metrics = trainer(
        [{"x": result([1.0, 1.0], [1.0, 0.0]), "y": result([2.0, 2.0], [0.0, 1.0])}], TeacherLosses(TEACHERS)
    )
    assert metrics["x/loss/a"] == 1 and metrics["y/loss/a"] == 2 and metrics["y/train_loss"] == 4
    assert metric_name("r2", "a", "x") == "x/r2/a" and metric_name("worst_r2", "") == "worst_r2"


def test_a_collapsed_weight_is_said_once(caplog):
    rows = [{"one": result([1.0, 1.0], [0.999, 0.001])}] * 30
    with caplog.at_level(logging.WARNING):
        metrics = trainer(rows, WeightCollapse(TEACHERS, memory=10))
    assert [("weight of b has collapsed" in record.message) for record in caplog.records] == [True]
    assert metrics["collapsed_teachers"] == 1


def test_dropping_and_scale_are_no_collapse(caplog):
    """Weights that take turns, or that do not sum to one, are looked at as averaged shares."""
    rows = [{"one": result([1.0, 1.0], [40.0 * (n % 2), 40.0 * (1 - n % 2)])} for n in range(40)]
    with caplog.at_level(logging.WARNING):
        assert trainer(rows, WeightCollapse(TEACHERS, memory=20))["collapsed_teachers"] == 0
    assert not caplog.records


def test_retention_by_hand():
    torch.manual_seed(0)
    target = torch.randn(3, 4, 5, 5) + 7
    noise = torch.randn_like(target) * 0.5
    mask = torch.ones(3, 5, 5)
    mask[:, 3:] = 0.2
    tally = Tally(4)
    for part in (slice(0, 1), slice(1, 3)):
        tally.add((target + noise)[part], target[part], mask[part])
    said = tally.result()
    true, error = (x[:, :, :3].permute(0, 2, 3, 1).reshape(-1, 4).double() for x in (target, noise))
    scatter = (true - true.mean(0)).square().sum(0)
    assert said["tokens"] == 45
    assert said["r2"] == pytest.approx(float(1 - error.square().sum() / scatter.sum()), abs=1e-6)
    assert said["r2_channels"] == pytest.approx(float((1 - error.square().sum(0) / scatter).mean()), abs=1e-6)
    cosine = torch.nn.functional.cosine_similarity(true + error, true).mean()
    assert said["cosine"] == pytest.approx(float(cosine), abs=1e-6)


def test_a_perfect_and_a_constant_student():
    target, mask = torch.randn(2, 3, 4, 4), torch.ones(2, 4, 4)
    output = {
        "pred": {"s": {"a": target.clone(), "b": target.mean((0, 2, 3), keepdim=True).expand_as(target)}},
        "label": {"a": target, "b": target},
        "mask": {"a": mask, "b": mask},
    }
    metric = RetentionMetric()
    engine = Engine(lambda engine, batch: output)
    engine.state.metric_details = {}
    metric.attach(engine, "retention")
    state = engine.run([0])
    assert state.metrics["r2/a"] == pytest.approx(1) and state.metrics["r2/b"] == pytest.approx(0, abs=1e-6)
    assert state.metrics["retention"] == state.metrics["worst_r2"] == pytest.approx(0, abs=1e-6)
    assert state.metrics["mean_r2"] == pytest.approx(0.5) and state.metrics["cosine/a"] == pytest.approx(1)


def test_nothing_to_measure_is_no_number():
    tally = Tally(2)
    tally.add(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2))
    assert tally.result()["r2"] != tally.result()["r2"]
    assert SimpleNamespace(**tally.result()).tokens == 0
