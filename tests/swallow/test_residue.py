import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_agglo.swallow.residue import normalised_residue_ratio, percent_full, residue_pct


def test_formulas():
    assert residue_pct(50, 100) == pytest.approx(0.5)
    assert percent_full(50, 200) == pytest.approx(25)
    assert normalised_residue_ratio(50, 200, 100) == pytest.approx(0.25 * 0.05)


def test_empty_spaces_are_nan():
    assert math.isnan(percent_full(0, 0)) and math.isnan(normalised_residue_ratio(0, 0, 100))
    assert math.isnan(residue_pct(5, float("nan"))) and math.isnan(normalised_residue_ratio(5, 9, float("nan")))


@given(residue=st.floats(0, 1e4), more=st.floats(1, 1e4), length=st.floats(20, 300), k=st.floats(0.2, 5))
def test_invariance_to_magnification(residue, more, length, k):
    space = residue + more
    assert residue_pct(residue * k**2, length * k) == pytest.approx(residue_pct(residue, length))
    assert percent_full(residue * k**2, space * k**2) == pytest.approx(percent_full(residue, space))
    ratio = normalised_residue_ratio(residue * k**2, space * k**2, length * k)
    assert ratio == pytest.approx(normalised_residue_ratio(residue, space, length))
