import numpy as np
import pytest
from cartoon import draw
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_agglo.swallow import Region, find_scale
from monai_agglo.swallow.scale import anterior_inferior_corner

BONES = ("c1", "c2", "c3", "c4", "c5", "mandible")


def scale_of(names=BONES, **options):
    masks = {name: mask[..., :3] for name, mask in draw(names=names, **options).items()}
    return find_scale({name: Region.of(mask) for name, mask in masks.items()})


def test_corner_of_a_rectangle():
    mask = np.zeros((20, 30, 1), bool)
    mask[5:11, 8:20] = True
    mask[6:9, 20:28] = True  # posterior process
    down, left = np.array([[0.0, 1.0]]), np.array([[-1.0, 0.0]])
    assert anterior_inferior_corner(Region.of(mask), down, left).tolist() == [[8, 10]]
    mask[:, 20:] = False
    assert anterior_inferior_corner(Region.of(mask), down, -left).tolist() == [[19, 10]]


@settings(max_examples=8, deadline=None)
@given(
    angle=st.floats(-170, 170), mirror=st.booleans(), size=st.floats(1.2, 2),
    right=st.floats(-9, 9), down=st.floats(-9, 9),
)  # fmt: skip
def test_length_axes_and_facing_under_rigid_motion(angle, mirror, size, right, down):
    found = scale_of(scale=size, angle=angle, mirror=mirror, shift=(right, down), size=250)
    assert found.known and not found.filled.any()
    assert found.length_px == pytest.approx(32 * size, rel=0.04)
    a = np.deg2rad(angle)
    side = 1 if mirror else -1
    assert found.inferior[0] == pytest.approx([-np.sin(a), np.cos(a)], abs=0.04)
    assert found.anterior[0] == pytest.approx([side * np.cos(a), side * np.sin(a)], abs=0.04)
    if abs(np.cos(a)) > 0.1:
        assert found.facing == ("left" if side * np.cos(a) < 0 else "right")


def test_anatomical_coordinates():
    found = scale_of(scale=2.0)
    zero = np.zeros(1, int)
    assert found.to_anatomy(found.c4[:1], zero)[0] == pytest.approx([0, 0], abs=1e-9)
    assert found.to_anatomy(found.c2[:1], zero)[0] == pytest.approx([0, -1], abs=1e-9)
    ahead = found.c4[:1] - [64, 0]
    assert found.to_anatomy(ahead, zero)[0] == pytest.approx([1, 0], abs=0.02)
    assert found.area_pct(64 * 64) == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (("c1", "c3", "mandible"), "C2 and C4 not found"),
        (("c2", "c3", "mandible"), "C4 not found"),
        (("c2", "c3", "c4"), "no structure anterior to the spine"),
    ],
)
def test_reason_of_a_missing_scale(names, word):
    found = scale_of(names)
    assert not found.known and word in found.reason and np.isnan(found.length_px)


def test_no_scale_with_a_truncated_vertebra():
    masks = {name: mask[..., :2].copy() for name, mask in draw(names=BONES).items()}
    columns = np.flatnonzero(masks["c4"].any(axis=(0, 2)))
    masks["c4"][:, : columns[0] + len(columns) * 2 // 3] = False
    found = find_scale({name: Region.of(mask) for name, mask in masks.items()})
    assert "C4 is cut off" in found.reason


def test_frame_without_vertebrae_takes_the_nearest_axes():
    masks = {name: mask[..., :4].copy() for name, mask in draw(names=BONES).items()}
    for mask in masks.values():
        mask[..., 2] = False
    found = find_scale({name: Region.of(mask) for name, mask in masks.items()})
    assert found.filled.tolist() == [False, False, True, False]
    assert found.c4[2] == pytest.approx(found.c4[1]) and np.isnan(found.lengths_px[2])
