import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_agglo.swallow import Region


def random_mask(seed, shape=(7, 9, 5)):
    return np.random.default_rng(seed).random(shape) < 0.2


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), order=st.sampled_from(["C", "F", "time"]), kind=st.sampled_from([bool, np.uint8]))
def test_pixels_for_all_memory_layouts(seed, order, kind):
    mask = random_mask(seed)
    stored = np.ascontiguousarray(mask.transpose(2, 0, 1)).transpose(1, 2, 0) if order == "time" else mask
    region = Region.of(np.asarray(stored, kind, order="K" if order == "time" else order))
    assert region.areas.tolist() == mask.sum(axis=(0, 1)).tolist()
    back = np.zeros_like(mask)
    x, y = region.points.astype(int).T
    back[y, x, region.t] = True
    assert (back == mask).all() and (np.diff(region.t) >= 0).all()


def test_centroid_extreme_and_reduce():
    mask = np.zeros((6, 8, 3), bool)
    mask[1:3, 2:6, 0] = True
    mask[4, 7, 2] = True
    region = Region.of(mask)
    assert region.areas.tolist() == [8, 0, 1]
    assert region.centroids[0].tolist() == [3.5, 1.5] and np.isnan(region.centroids[1]).all()
    assert region.reduce(region.points[:, 0], np.maximum).tolist()[::2] == [5, 7]
    assert region.extreme(region.points[:, 0])[0].tolist() == [5, 1.5]  # mean of two pixels
    assert region.touches_edge().tolist() == [False, False, True]
    other = np.zeros_like(mask)
    other[1, :, 0] = True
    assert region.select(region.inside(other)).areas.tolist() == [4, 0, 0]


def test_largest_piece_and_erosion_of_bridges():
    mask = np.zeros((12, 20, 2), bool)
    mask[2:9, 2:9, 0] = True
    mask[3:6, 12:15, 0] = True
    mask[4, 9:12, 0] = True  # bridge
    region = Region.of(mask)
    assert region.largest_piece().areas.tolist() == [61, 0]
    peeled, label = region.pieces(erode=1)
    assert peeled.areas.tolist() == [26, 0] and sorted(np.bincount(label)[1:]) == [1, 25]


def test_empty_and_invalid_masks():
    region = Region.of(np.zeros((4, 5, 0), bool))
    assert region.frames == 0 and region.pieces()[0].areas.tolist() == []
    assert Region.of(np.zeros((4, 5, 3), bool)).largest_piece().areas.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="three axes"):
        Region.of(np.zeros((4, 5), bool))
