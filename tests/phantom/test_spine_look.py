import numpy as np

from monai_agglo.phantom import PhantomSpec
from monai_agglo.phantom.spine_look import spine_look


def test_belongs_to_the_patient():
    assert spine_look(PhantomSpec(anatomy_seed=2)) == spine_look(PhantomSpec(anatomy_seed=2, seed=9, kvp=90))


def test_lower_vertebrae_are_weaker_on_average_and_none_vanishes():
    gains = np.array([spine_look(PhantomSpec(anatomy_seed=k)).gain for k in range(100)])
    assert gains.shape == (100, 9) and gains[:, :7].min() > 0.3 and gains.max() < 1.3
    assert gains[:, 5:7].mean() < gains[:, 1:4].mean() - 0.05
