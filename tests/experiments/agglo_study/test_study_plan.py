import pytest

from experiments.agglo_study.cells import StudyCell, balancing_of, with_seeds
from experiments.agglo_study.plan import (
    COMPACT,
    StudySettings,
    cell_named,
    equal_of,
    finalists,
    grid,
    singles,
    teachers_of,
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
    assert small.final_steps * small.batch < whole.final_steps * whole.batch / 4 and small.size < whole.size
    assert small.frame % small.size == 0 and small.size % 32 == 0  # what PictureSize asks for


def test_teachers_of_a_cell():
    settings = StudySettings()

    def teachers(method):
        return teachers_of(StudyCell(method, "phi_s", "b", 0), settings)

    assert teachers("scratch") == () and teachers("simple") == ("litemedsam",)
    assert teachers("single_mobilenet_v3") == ("mobilenet_v3",) and teachers("equal") == settings.teachers
    assert "mobilenet_v3" not in teachers("equal_without_coarse")


def test_finalists_are_the_best_and_the_baselines():
    settings = StudySettings()
    score = dict.fromkeys(grid(settings), 0.5)

    def cell(method, targets, steps=settings.steps):
        return StudyCell(method, targets, settings.backbone, 0, steps)

    score[cell("equal_without_coarse", "identity")] = 0.95  # a comparison, and no way of balancing all teachers
    best = [(m, "phi_s") for m in ("adaloss", "dropping", "mlp", "mlp_stable")]
    for place, pair in enumerate(best):
        score[cell(*pair)] = 0.9 - place / 100
    score[cell("equal", "identity")], score[cell("equal", "standardise")] = 0.8, 0.6
    score[cell("single_dinov2_small", "standardise")] = 0.7
    found = finalists(settings, score)
    assert equal_of(settings, score) == cell("equal", "standardise")  # raw targets are no normalised baseline
    equal = [("equal", "standardise"), ("equal_without_coarse", "standardise")]
    expected = [*best, *equal, ("single_dinov2_small", "standardise"), ("simple", "identity")]
    assert found == [*(cell(*pair, settings.final_steps) for pair in expected), grid(settings)[0]]
    assert found[-1].method == "scratch" and found[-1].steps == found[-1].at(steps=7).steps == 0
    assert [c.seed for c in with_seeds(found, 3)] == [0] * 9 + [1] * 9 + [2] * 9


def test_a_cell_is_compared_with_students_of_one_teacher_that_are_alike():
    settings = StudySettings()
    cell = StudyCell("equal", "phi_s", "efficientvit_b1", 2, settings.final_steps)
    found = singles(settings, cell)
    assert list(found) == list(settings.teachers)
    expected = StudyCell("single_mobilesam", "phi_s", "efficientvit_b0", 2, settings.final_steps)
    assert found["mobilesam"] == expected
    shipped = cell.at(images="shippable", steps=settings.ship_steps)
    assert singles(settings, shipped)["mobilesam"] == expected  # none is longer than the finals


def test_variants_come_after_what_they_have_to_know():
    settings = StudySettings()
    variant = cell_named(settings, "tchebycheff+standardise")
    assert grid(settings)[-1] == variant and variant.agglomerates and balancing_of(variant)[0] == "tchebycheff"
    assert teachers_of(variant, settings) == settings.teachers
    assert balancing_of(StudyCell("single_mobilesam", "phi_s", "b", 0)) == ("single", {})


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="unknown ways of balancing"):
        StudySettings(balancings=("magic",))
    for name in ("mlp+phi_s", "tchebycheff", "tchebycheff+magic"):
        with pytest.raises(ValueError, match="unknown variant"):
            StudySettings(variants=(name,))
    with pytest.raises(ValueError, match="at least the 300 steps of the screening, not 200"):
        StudySettings(final_steps=200)
    with pytest.raises(ValueError, match="several teachers"):
        StudySettings(teachers=("litemedsam",))
