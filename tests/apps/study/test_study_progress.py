import pytest
from study_samples import tiny_settings

from monai_agglo.apps.study.plan import StudyCell, singles
from monai_agglo.apps.study.progress import PARTS, shares_of_way
from monai_agglo.apps.study.runner import Study

SETTINGS = tiny_settings()
EQUAL = StudyCell("equal", "phi_s", SETTINGS.backbone, 0)


def put(study, cell, *losses):
    """Losses per teacher, at step 1, 2, ..."""
    trace = [{"step": step + 1, "losses": list(row)} for step, row in enumerate(zip(*losses))]
    study.store.put(study.distil_key(cell), {"teachers": list(cell.teachers(SETTINGS)), "trace": trace})


@pytest.fixture
def study(tiny_data, tmp_path):
    return Study(SETTINGS, tiny_data, tmp_path, say=lambda text: None)


def test_shares_by_hand(study):
    alone = singles(SETTINGS, EQUAL)
    down = [1.0 - 0.05 * step for step in range(11)]
    put(study, alone["wide"], down)
    put(study, alone["coarse"], [2 * loss for loss in down])
    # half of the way to the first at any time; to the second all of it, and then no further
    put(study, EQUAL, [1 - (1 - loss) / 2 for loss in down], [max(2 * loss, 1.5) for loss in down])
    shares = shares_of_way(study, EQUAL)
    assert shares["wide"] == pytest.approx([0.5] * PARTS)
    assert shares["coarse"][:2] == pytest.approx([1.0, 1.0])
    assert shares["coarse"] == sorted(shares["coarse"], reverse=True)
    assert shares["coarse"][-1] == pytest.approx(2 * 0.5 / (0.9 + 1.0))


def test_nothing_to_compare_with(study):
    assert shares_of_way(study, EQUAL) == {}
    put(study, EQUAL, [1.0, 0.5], [1.0, 0.5])
    put(study, singles(SETTINGS, EQUAL)["wide"], [1.0, 0.5])
    assert shares_of_way(study, EQUAL) == {}  # too few points
