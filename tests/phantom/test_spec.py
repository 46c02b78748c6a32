import json

import numpy as np
import pytest

from monai_agglo.phantom import PhantomSpec, SwallowSpec


def test_same_seed_same_spec_and_seeds_differ():
    assert PhantomSpec.sample(3) == PhantomSpec.sample(3)
    assert PhantomSpec.sample(3) != PhantomSpec.sample(4)


@pytest.mark.parametrize("seed", range(5))
def test_spec_survives_json(seed):
    spec = PhantomSpec.sample(seed)
    assert PhantomSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_unknown_parameter_is_named():
    with pytest.raises(ValueError, match="colour"):
        PhantomSpec.from_dict({"colour": 1})


def test_overrides_win():
    assert PhantomSpec.sample(1, rows=256, view="ap").view == "ap"
    assert PhantomSpec.sample(1, cols=300).replace(cols=200).cols == 200


def test_samples_cover_the_clinical_range():
    specs = [PhantomSpec.sample(seed) for seed in range(400)]
    swallows = [s for spec in specs for s in spec.swallows]
    assert {spec.facing for spec in specs} == {"left", "right"}
    assert {len(spec.swallows) for spec in specs} == {0, 1, 2, 3}
    assert {spec.field for spec in specs} == {"circle", "rectangle", "both", "none"}
    assert {spec.photometric for spec in specs} == {"MONOCHROME1", "MONOCHROME2"}
    assert {spec.bits_stored for spec in specs} == {8, 10, 12}
    assert {s.iddsi for s in swallows} == {0, 1, 2, 3, 4}
    assert {s.airway for s in swallows} == {"none", "penetration", "aspiration"}
    assert all(1 <= s.volume_ml <= 20 for s in swallows)
    assert 7.5 in {spec.frame_rate for spec in specs} and 30.0 in {spec.frame_rate for spec in specs}
    assert any(spec.recorded_rate > spec.frame_rate for spec in specs)
    assert min(s.zoom for s in specs) < 0.8 and max(s.zoom for s in specs) > 1.25


def test_swallows_follow_each_other():
    for seed in range(200):
        onsets = [s.onset_s for s in PhantomSpec.sample(seed).swallows]
        assert onsets == sorted(onsets)


def test_swallow_is_drawn_from_its_generator_only():
    assert SwallowSpec.sample(np.random.default_rng(1), 1.0) == SwallowSpec.sample(np.random.default_rng(1), 1.0)
