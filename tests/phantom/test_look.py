import numpy as np

from monai_agglo.phantom import PhantomSpec
from monai_agglo.phantom.look import draw_look


def test_the_same_seed_gives_the_same_look():
    assert draw_look(7) == draw_look(7) != draw_look(8)


def test_shares_over_many_studies():
    specs = [PhantomSpec.sample(seed) for seed in range(400)]
    assert 0.28 < np.mean(["bridge" in s.hardware for s in specs]) < 0.44
    assert 0 < np.mean(["implants" in s.hardware for s in specs]) < 0.2
    assert 0.08 < np.mean([s.video_quality > 0 for s in specs]) < 0.25
    doses = np.array([s.dose for s in specs])
    assert np.median(doses) > 2e4 and (doses < 5000).mean() > 0.03, "most studies are quiet, some noisy"
