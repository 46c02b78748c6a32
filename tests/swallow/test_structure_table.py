import numpy as np
import pytest
from pydicom.sr.codedict import codes

from monai_agglo.swallow import AUXILIARY, NAMES, STRUCTURES, TARGET_NAMES, TARGETS, flatten, index_of
from monai_agglo.swallow.structures import PRIVATE

KEYWORDS = {
    "mandible": "Mandible", "trachea": "Trachea", "pharynx": "Pharynx", "hyoid": "HyoidBone",
    "pyriform_sinuses": "PyriformSinus", **{f"c{k}": f"C{k}Vertebra" for k in range(1, 8)},
}  # fmt: skip


def test_table_order():
    assert len(TARGETS) == 12 and len(AUXILIARY) == 6
    assert STRUCTURES == TARGETS + AUXILIARY and NAMES[:12] == TARGET_NAMES
    assert [s.id for s in STRUCTURES] == list(range(1, 19))


@pytest.mark.parametrize("field", ["name", "title", "color", "code", "priority"])
def test_values_are_unique(field):
    values = [getattr(s, field) for s in STRUCTURES]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("structure", STRUCTURES, ids=NAMES)
def test_codes_are_from_pydicom_or_private(structure):
    value, scheme, meaning = structure.code
    if structure.name in KEYWORDS:
        code = getattr(codes.SCT, KEYWORDS[structure.name])
        assert (value, scheme, meaning) == (code.value, code.scheme_designator, code.meaning)
    else:
        assert scheme == PRIVATE and scheme.startswith("99")
    assert len(value) <= 16 and len(scheme) <= 16 and len(meaning) <= 64  # SH, SH, LO


def test_index_of():
    assert index_of("bolus") == 11 and index_of("vocal_folds") == 17
    with pytest.raises(ValueError, match="epiglottis"):
        index_of("tongue")


def test_flatten_by_priority():
    masks = np.zeros((12, 1, 5), bool)
    for name, columns in {
        "bolus": [0],
        "epiglottis": [0, 1],
        "trachea": [0, 1, 2],
        "pharynx": [0, 1, 2, 3],
        "c3": [3, 4],
    }.items():
        masks[index_of(name), 0, columns] = True
    assert flatten(masks)[0].tolist() == [12, 1, 10, 11, 5]
    assert np.array_equal(flatten(np.moveaxis(masks, 0, -1), axis=-1), flatten(masks))


def test_flatten_with_wrong_number_of_channels():
    with pytest.raises(ValueError, match="18 mask channels for 12"):
        flatten(np.zeros((18, 4, 4)))
    assert flatten(np.zeros((18, 4, 4)), STRUCTURES).shape == (4, 4)
