import numpy as np
import pytest

from monai_agglo.phantom import PhantomSpec
from monai_agglo.phantom.overlap import overlap_parts
from monai_agglo.phantom.soft_detail import soft_detail_parts


@pytest.mark.parametrize("parts_of", [soft_detail_parts, overlap_parts])
def test_belongs_to_the_patient(parts_of):
    first, again = (parts_of(PhantomSpec(anatomy_seed=5, seed=seed)) for seed in (1, 2))
    assert len(first) == len(again) and all(np.array_equal(a.polygon, b.polygon) for a, b in zip(first, again))


@pytest.mark.parametrize(("parts_of", "name"), [(soft_detail_parts, "clips"), (overlap_parts, "hairclip")])
def test_metal_only_with_the_hardware(parts_of, name):
    def metal(hardware):
        return [p for p in parts_of(PhantomSpec(hardware=hardware)) if p.material == "metal"]

    assert metal((name,)) and not metal(())


def test_soft_tissue_stays_weak():
    """Less than a fifth of a neck's 110 mm, so that no soft-tissue shadow passes for bone or barium."""
    for seed in range(30):
        parts = soft_detail_parts(PhantomSpec(anatomy_seed=seed))
        assert all(abs(p.value) < 22 and np.isfinite(p.polygon).all() for p in parts)
