"""The trainer: it learns, students do not disturb each other, and every balancer and projector goes through it."""

import pytest
import torch

from monai_agglo.data.feature_cache import FeatureCacheError
from monai_agglo.engines import AgglomerationTrainer, RetentionEvaluator, check_strides
from monai_agglo.handlers import IterationScalars, RetentionMetric, TeacherLosses
from monai_agglo.losses import BALANCERS
from monai_agglo.networks import PROJECTORS, StudentEncoder

from .conftest import TEACHERS, Tiny


def weights(learner):
    return {key: value.clone() for key, value in learner.objective.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def retention(tiny):
    evaluator = RetentionEvaluator(
        "cpu", tiny.loader, tiny.learners, tiny.reader, key_val_metric={"retention": RetentionMetric()}
    )
    evaluator.run()
    return evaluator.state


def test_it_learns(cached):
    """Each teacher is said again better than before; figures are in metrics and details."""
    start = retention(Tiny(cached, settings={"average_decay": 0.5}))
    tiny = Tiny(cached, 15, [TeacherLosses(TEACHERS)], settings={"average_decay": 0.5}, gradient_norms_every=2).run()
    end = retention(tiny)
    for name in TEACHERS:
        assert end.metrics[f"r2/{name}"] > max(0, start.metrics[f"r2/{name}"]) + 0.02
        assert end.metrics[f"cosine/{name}"] > start.metrics[f"cosine/{name}"]
        assert tiny.trainer.state.metrics[f"gradient_norm/{name}"] > 0
    assert end.metrics["retention"] == end.metrics["worst_r2"] == min(end.metrics[f"r2/{n}"] for n in TEACHERS)
    metrics = tiny.trainer.state.metrics
    assert metrics["weight/wide"] == metrics["weight/coarse"] == 0.5
    assert metrics["train_loss"] == pytest.approx((metrics["loss/wide"] + metrics["loss/coarse"]) / 2, rel=1e-4)
    scalars = IterationScalars(TEACHERS)(tiny.trainer.state.output)
    assert scalars.keys() == {f"step_loss/{n}" for n in ("total", *TEACHERS)} | {f"step_weight/{n}" for n in TEACHERS}


def test_students_side_by_side_equal_students_alone(cached):
    """One stream of targets, two students: each ends where it ends without the other."""
    both = Tiny(cached, names=("a", "b")).run()
    assert not same(weights(both.learners[0]), weights(both.learners[1]))
    alone = Tiny(cached, names=("a",)).run()
    assert same(weights(both.learners[0]), weights(alone.learners[0]))
    assert set(both.trainer.state.output["results"]) == {"a", "b"}


def test_accumulated_batches_are_one_step(cached):
    tiny = Tiny(cached, 2, accumulate=2).run()
    # 3 batches an epoch: one step of two, one of what is left
    assert tiny.trainer.state.epoch_length == 3 and tiny.learners[0].steps == 4
    assert not same(weights(tiny.learners[0]), weights(Tiny(cached, 2).run().learners[0]))


def test_accumulated_gradients_are_the_mean(cached):
    """Without batch statistics, two halves accumulated give the gradient of the whole."""
    tiny = Tiny(cached)
    learner = tiny.learners[0]
    batch = tiny.reader(next(iter(tiny.loader)), torch.device("cpu"))
    learner.objective.eval()
    learner.parallel.train = lambda mode=True: learner.parallel  # batch norm stays at its running statistics
    learner.backward(batch)
    whole = {n: p.grad.clone() for n, p in learner.objective.named_parameters() if p.grad is not None}
    learner.optimizer.zero_grad(set_to_none=True)
    for part in (slice(0, 2), slice(2, 4)):
        cut = batch._replace(
            image=batch.image[part],
            image_affine=batch.image_affine[part],
            affines={k: v[part] for k, v in batch.affines.items()},
            targets={k: v[part] for k, v in batch.targets.items()},
            masks={k: v[part] for k, v in batch.masks.items()},
        )
        learner.backward(cut, 0.5)
    for name, gradient in whole.items():
        torch.testing.assert_close(
            dict(learner.objective.named_parameters())[name].grad, gradient, atol=1e-5, rtol=1e-3
        )


OPTIONS = {"fixed": {"weights": [0.3, 0.7]}, "gradnorm": {"warmup": 1}}


@pytest.mark.parametrize("balancer", BALANCERS)
def test_every_balancer_trains(cached, balancer):
    settings = {"balancer": balancer, "balancer_options": OPTIONS.get(balancer)}
    tiny = Tiny(cached, 1, [TeacherLosses(TEACHERS)], settings=settings)
    before = weights(tiny.learners[0])
    tiny.run()
    after = weights(tiny.learners[0])
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert any("student.encoder" in key for key in moved)
    assert all(key in moved for key in before if key.startswith("loss.balancer") and key in dict(
        tiny.learners[0].objective.named_parameters()))  # fmt: skip


@pytest.mark.parametrize("projector", PROJECTORS)
@pytest.mark.parametrize("place", ["teacher", "student"])
def test_every_projector_trains(cached, projector, place):
    if projector == "transformer" and place == "student":
        pytest.skip("attention over 24 x 24 cells takes long, and is tested at the teacher's")
    tiny = Tiny(cached, 1, settings={"projector": projector, "project_at": place})
    before = weights(tiny.learners[0])
    tiny.run()
    after = weights(tiny.learners[0])
    heads = {key for key in before if "projectors" in key and not torch.equal(before[key], after[key])}
    assert {name for name in TEACHERS if any(name in key for key in heads)} == set(TEACHERS)


def test_bfloat16_is_close_to_float32(cached):
    """The same run under autocast: finite, other numbers, the same losses within a few per cent."""
    runs = [Tiny(cached, 1, [TeacherLosses(TEACHERS)], precision=p).run() for p in ("float32", "bfloat16")]
    one, other = (run.trainer.state.metrics["train_loss"] for run in runs)
    assert one != other and abs(one - other) < 0.05 * one
    with pytest.raises(ValueError, match="bfloat16"):
        Tiny(cached, precision="float16")


def test_compiled_encoder_keeps_its_names(cached):
    tiny = Tiny(cached, settings={"compile": True})
    assert same(weights(tiny.learners[0]), weights(Tiny(cached).learners[0]))
    assert tiny.learners[0].network.student.encoder.backbone._compiled_call_impl is not None


def test_a_student_too_coarse_is_refused():
    with pytest.raises(ValueError, match="stride is larger than that of fine: 8 cells a side at stride 32"):
        check_strides(StudentEncoder("test_efficientnet", 16, 32), 256, {"fine": (4, 16, 16)})


def test_names_must_differ(cached):
    with pytest.raises(ValueError, match="a name of its own"):
        Tiny(cached, names=("a", "a"))


def test_targets_that_are_no_numbers_end_the_training(cached):
    tiny = Tiny(cached)
    read = tiny.reader._decode
    tiny.reader._decode = lambda name, *rest: read(name, *rest) * (float("nan") if name == "coarse" else 1)
    with pytest.raises(FeatureCacheError, match="features of coarse are NaN"):
        tiny.run()


def test_is_a_monai_trainer(cached):
    from monai.engines import SupervisedTrainer

    assert issubclass(AgglomerationTrainer, SupervisedTrainer)
    assert Tiny(cached).trainer.get_stats()["total_epochs"] == 2
