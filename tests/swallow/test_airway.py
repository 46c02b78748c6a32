import numpy as np

from monai_agglo.swallow import Region
from monai_agglo.swallow.airway import LEVELS, airway_flags
from monai_agglo.swallow.scale import no_scale


def drawn():
    """Airway below row 5, vocal folds in rows 20 and 21; bolus in four frames: clear, above, at, below the folds."""
    airway, folds, bolus = (np.zeros((40, 30, 4), bool) for _ in range(3))
    airway[5:, 10:20] = True
    folds[20:22, 10:20] = True
    for t, (top, bottom) in enumerate([(0, 5), (4, 12), (14, 21), (18, 30)]):
        bolus[top:bottom, 12:15, t] = True
    return airway, folds, bolus


def test_levels_and_depth():
    airway, folds, bolus = drawn()
    flags = airway_flags(Region.of(bolus), airway, Region.of(folds), no_scale(4, "none"))
    assert flags.overlap_px.tolist() == [0, 21, 21, 36]
    assert [LEVELS[k] for k in flags.level] == [
        "none", "above the vocal folds", "at the vocal folds", "below the vocal folds",
    ]  # fmt: skip
    assert np.isnan(flags.depth[0]) and flags.depth[1:].tolist() == [6, 15, 24]
    assert flags.deepest(slice(0, 3)) == "at the vocal folds" and flags.deepest(slice(0, 1)) == "none"


def test_level_is_unknown_without_vocal_folds():
    airway, _, bolus = drawn()
    flags = airway_flags(Region.of(bolus), airway, None, no_scale(4, "none"))
    assert flags.flagged.tolist() == [False, True, True, True]
    assert flags.deepest(slice(None)) == "airway, level not known"


def test_frames_are_independent():
    airway, folds, bolus = drawn()
    whole = airway_flags(Region.of(bolus), airway, Region.of(folds), no_scale(4, "none"))
    for t in range(4):
        one = [mask[..., t : t + 1] for mask in (bolus, airway, folds)]
        single = airway_flags(Region.of(one[0]), one[1], Region.of(one[2]), no_scale(1, "none"))
        assert single.flagged[0] == whole.flagged[t] and single.level[0] == whole.level[t]
