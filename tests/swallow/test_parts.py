import numpy as np
import pytest

from monai_agglo.swallow import NAMES, STRUCTURES, TARGET_NAMES, keep_main_parts
from monai_agglo.swallow.parts import keep_main_part


def frame(*boxes, size=24):
    """Masks (12, H, W, 1) with the same rectangles (top, left, bottom, right) for all structures."""
    masks = np.zeros((len(TARGET_NAMES), size, size, 1), np.uint8)
    for top, left, bottom, right in boxes:
        masks[:, top:bottom, left:right] = 1
    return masks


def test_small_components_are_removed_except_bolus():
    masks = frame((2, 2, 12, 12), (14, 14, 18, 18), (20, 2, 23, 5))  # areas 100, 16 and 9
    for fraction, left in ((0.0, 125), (0.1, 116), (0.2, 100), (1.0, 100)):
        found = keep_main_parts(masks.copy(), fraction)
        for name, channel in zip(TARGET_NAMES, found):
            assert channel.sum() == (125 if name == "bolus" else left), (name, fraction)


def test_equal_and_diagonally_connected_components():
    assert keep_main_parts(frame((0, 0, 4, 4), (10, 10, 14, 14)), 1.0)[0].sum() == 32
    assert keep_main_parts(frame((0, 0, 10, 10), (10, 10, 12, 12)), 0.5)[0].sum() == 104  # connected at a corner


def test_frames_are_independent():
    masks = np.concatenate([frame((0, 0, 10, 10)), frame((20, 20, 22, 22)), frame()], axis=-1)
    assert keep_main_parts(masks, 0.5)[0].sum(axis=(0, 1)).tolist() == [100, 4, 0]


def test_strided_masks_are_modified_in_place():
    masks = np.moveaxis(np.repeat(frame((0, 0, 10, 10), (20, 20, 22, 22)), 3, axis=-1), -1, 0).copy()
    view = np.moveaxis(masks, 0, -1)
    assert keep_main_parts(view, 0.5) is view and masks[:, 0].sum() == 300


def test_only_the_bolus_is_scattered():
    assert [s.name for s in STRUCTURES if s.scattered] == ["bolus"] and "bolus" in NAMES


def test_empty_mask():
    for shape in ((0, 16), (16, 0), (0, 0)):
        assert keep_main_part(np.zeros(shape, np.uint8), 0.2).shape == shape


def test_bad_arguments():
    with pytest.raises(ValueError, match="within 0 to 1"):
        keep_main_parts(frame(), 1.5)
    with pytest.raises(ValueError, match=r"masks must be \(12, H, W, T\)"):
        keep_main_parts(np.zeros((3, 8, 8, 1), np.uint8), 0.5)
