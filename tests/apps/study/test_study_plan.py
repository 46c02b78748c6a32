import pytest

from monai_agglo.apps.study.plan import (
    COMPACT,
    StudyCell,
    StudySettings,
    balancing_of,
    cell_named,
    equal_of,
    finalists,
    grid,
    with_seeds,
)


def test_grid_is_the_issue_s():
    settings = StudySettings()
    cells = grid(settings)
    assert len(cells) == len({cell.id for cell in cells}) == 2 + 3 * (4 + 8) + 1
    named = {(cell.method, cell.targets) for cell in cells}
    assert (
        ("mlp", "identity") in named
        and ("attention_stable", "phi_s") in named
        and ("single_mobilesam", "phi_s") in named
    )


def test_compact_is_smaller_and_asks_the_same_questions():
    whole, small = StudySettings(), StudySettings(**COMPACT)
    assert len(grid(small)) == 2 + 2 * (4 + 8) + 1 and small.seeds == whole.seeds and small.teachers == whole.teachers
    assert small.steps * small.batch < whole.steps * whole.batch / 4 and small.size < whole.size
    assert small.frame % small.size == 0 and small.size % 32 == 0  # what PictureSize asks for


def test_teachers_of_a_cell():
    settings = StudySettings()

    def teachers(method):
        return StudyCell(method, "phi_s", "b", 0).teachers(settings)

    assert teachers("scratch") == () and teachers("simple") == ("litemedsam",)
    assert teachers("single_mobilenet_v3") == ("mobilenet_v3",) and teachers("equal") == settings.teachers
    assert "mobilenet_v3" not in teachers("equal_without_coarse")


def test_finalists_are_the_best_and_the_baselines():
    settings = StudySettings()
    score = dict.fromkeys(grid(settings), 0.5)
    best = [StudyCell(m, "phi_s", settings.backbone, 0) for m in ("adaloss", "dropping", "mlp", "mlp_stable")]
    for place, cell in enumerate(best):
        score[cell] = 0.9 - place / 100
    raw_equal, equal = (StudyCell("equal", t, settings.backbone, 0) for t in ("identity", "standardise"))
    score[raw_equal], score[equal] = 0.8, 0.6
    alone = StudyCell("single_dinov2_small", "standardise", settings.backbone, 0)
    score[alone] = 0.7
    found = finalists(settings, score)
    assert found[:4] == best and equal_of(settings, score) == equal  # raw targets are no normalised baseline
    assert found[4:] == [equal, alone, *reversed(grid(settings)[:2])]
    assert [c.seed for c in with_seeds(found, 3)] == [0] * 8 + [1] * 8 + [2] * 8


def test_variants_come_after_what_they_have_to_know():
    settings = StudySettings()
    variant = cell_named(settings, "tchebycheff+standardise")
    assert grid(settings)[-1] == variant and variant.agglomerates and balancing_of(variant)[0] == "tchebycheff"
    assert variant.teachers(settings) == settings.teachers
    assert balancing_of(StudyCell("single_mobilesam", "phi_s", "b", 0)) == ("single", {})


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="unknown ways of balancing"):
        StudySettings(balancings=("magic",))
    for name in ("mlp+phi_s", "tchebycheff", "tchebycheff+magic"):
        with pytest.raises(ValueError, match="unknown variant"):
            StudySettings(variants=(name,))
    with pytest.raises(ValueError, match="several teachers"):
        StudySettings(teachers=("litemedsam",))
