"""The field's shape in the file is the field in the picture."""

import numpy as np
import pytest

from monai_agglo.phantom import PhantomSpec, PhantomStudy
from monai_agglo.phantom.field_shape import FieldShape


@pytest.mark.parametrize("field", ["circle", "rectangle", "both"])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", [(96, 128), (160, 128)])
def test_shape_of_the_phantoms_fields(field, seed, shape):
    spec = PhantomSpec.sample(seed, rows=shape[0], cols=shape[1], field=field, field_size=0.85 + 0.1 * seed)
    mask = PhantomStudy(spec).field_mask
    found = FieldShape.from_mask(mask)
    assert found is not None
    assert found.overlap(mask) > 0.99
    assert field == "both" or (found.circle is None) == (field == "rectangle")
    assert field != "circle" or found.rectangle is None


def test_circle_and_rectangle():
    truth = FieldShape(circle=(60.0, 70.0, 55.0), rectangle=(20, 100, 25, 128))
    found = FieldShape.from_mask(truth.mask((120, 130)))
    np.testing.assert_allclose(found.circle, truth.circle, atol=0.7)
    np.testing.assert_allclose(found.rectangle, (20, 100, 25, 126), atol=0)  # the circle ends before column 128


def test_overlap():
    half = np.zeros((8, 8), bool)
    half[:4] = True
    assert FieldShape(rectangle=(0, 4, 0, 8)).overlap(half) == 1
    assert FieldShape(rectangle=(0, 8, 0, 8)).overlap(half) == 0.5


def test_no_field():
    assert FieldShape.from_mask(np.ones((8, 8), bool)) is None
    assert FieldShape.from_mask(np.zeros((8, 8), bool)) is None
