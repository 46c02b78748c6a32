import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_agglo.phantom.airway import polygon_area
from monai_agglo.phantom.shapes import (
    Canvas,
    clip_below,
    ellipse,
    polyline_at,
    ribbon,
    smooth_closed,
    smooth_open,
    smoothstep,
)


def canvas(size=128):
    return Canvas((size, size), lambda p: np.asarray(p, float), 1.0)


def test_mask_of_a_square_has_its_area():
    square = np.array([[10, 20], [50, 20], [50, 80], [10, 80]], float)
    assert canvas().mask(square).sum() == pytest.approx(40 * 60, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(st.floats(15, 110), st.floats(15, 110), st.floats(6, 14), st.floats(6, 14))
def test_mask_area_agrees_with_the_polygon_area(x, y, a, b):
    polygon = ellipse((x, y), (a, b), 30, steps=48)
    assert polygon_area(polygon) == pytest.approx(np.pi * a * b, rel=0.01)
    # OpenCV counts the outline itself: half a pixel around the perimeter at most
    assert abs(canvas().mask(polygon).sum() - np.pi * a * b) < 0.8 * np.pi * (a + b)


def test_smooth_curves_pass_through_their_points():
    points = np.array([[0, 0], [10, 5], [20, -5], [30, 0]], float)
    curve = smooth_open(points, 8)
    assert np.allclose(curve[::8], points)
    assert np.allclose(smooth_closed(points, 8)[::8], points)


def test_polyline_at_measures_arc_length():
    line = np.array([[0, 0], [10, 0], [10, 10]], float)
    assert np.allclose(polyline_at(line, np.array([0, 0.25, 0.75, 1])), [[0, 0], [5, 0], [10, 5], [10, 10]])


def test_ribbon_has_the_given_width():
    band = ribbon(np.array([[10, 30], [60, 30], [110, 30]], float), 6)
    assert polygon_area(band) == pytest.approx(100 * 12)


def test_clip_below_keeps_what_lies_under_the_level():
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    assert polygon_area(clip_below(square, 7)) == pytest.approx(30)
    assert len(clip_below(square, 11)) == 0
    assert polygon_area(clip_below(square, -1)) == pytest.approx(100)


def test_added_body_is_thickest_inside_and_zero_outside():
    out = np.zeros((128, 128), np.float32)
    canvas().add(out, ellipse((64, 64), (30, 30), steps=64), 10.0, edge=5)
    assert out[64, 64] == pytest.approx(10, rel=0.02)
    assert 0 < out[64, 92] < 4
    assert out[64, 100:].max() == 0


def test_body_cut_by_the_image_border_does_not_fade_there():
    out = np.zeros((64, 64), np.float32)
    canvas(64).add(out, np.array([[-200, -200], [200, -200], [200, 200], [-200, 200]], float), 3.0, edge=6)
    assert np.allclose(out, 3.0, atol=1e-3)


def test_rim_is_denser_than_the_centre():
    out = np.zeros((128, 128), np.float32)
    canvas().add(out, ellipse((64, 64), (40, 40), steps=64), 1.0, edge=2, rim=5, rim_width=3)
    assert out[64, 64] < 1.1 and out[64, 64 + 38] > 2


def test_outlines_off_the_image_are_harmless():
    out = np.zeros((32, 32), np.float32)
    far = ellipse((1e5, 1e5), (5, 5))
    canvas(32).add(out, far, 1.0, edge=1)
    canvas(32).stroke(out, far, 2, 1.0)
    assert not out.any() and not canvas(32).mask(far).any()


def test_smoothstep_clamps():
    assert smoothstep(-1) == 0 and smoothstep(2) == 1 and smoothstep(0.5) == 0.5
