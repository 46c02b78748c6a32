"""Real gradient descent: the paper's plain forms end on the easiest teacher, the stabilised forms do not."""

import pytest

from .toy import BOTTLENECK, RANKS, train

IMAGE = {"student_channels": BOTTLENECK, "teacher_channels": [12] * len(RANKS)}
FORMS = pytest.mark.parametrize(
    ("name", "options"), [("mlp", {}), ("attention", {}), ("image_attention", IMAGE)], ids=lambda v: v or "-"
)
STEPS = 200


@FORMS
def test_plain_form_collapses_and_stabilised_form_does_not(name, options):
    plain, plain_weights = train(name, STEPS, form="paper", **options)
    stable, weights = train(name, STEPS, **options)
    assert plain_weights.argmax() == 0 and plain_weights[0] > 0.95 and plain_weights[1:].max() < 0.05
    assert weights.min() > 0.1 and weights.max() < 0.75
    assert plain[0] > 0.98 and stable[0] > 0.98  # the easiest teacher is learnt either way,
    assert min(stable) > 0.85  # the others
    assert min(plain) < min(stable) - 0.03  # only with weights that do not collapse


@pytest.mark.parametrize("name", ["adaloss", "famo", "gradnorm", "tchebycheff", "uncertainty"])
def test_scale_free_balancers_learn_all_teachers(name):
    assert min(train(name, STEPS)[0]) > 0.85


def test_neither_floor_nor_entropy_is_not_stable():
    """What makes the stabilised form stable is the entropy or the floor, not the running mean alone."""
    _, weights = train("attention", STEPS, entropy=0.0, entropy_end=0.0, floor=0.0)
    assert weights.max() > 0.95
    _, weights = train("attention", STEPS, entropy=0.0, entropy_end=0.0, floor=0.5)
    assert weights.min() > 0.16
