import numpy as np

from monai_agglo.phantom import PhantomSpec, PhantomStudy
from monai_agglo.phantom.restorations import restoration_parts
from monai_agglo.swallow import NAMES

LINE = np.array([[10, 206], [138, 194]], float)


def test_only_with_the_hardware_and_the_same_again():
    assert restoration_parts(PhantomSpec(hardware=("fillings",)), LINE, up=True) == []
    spec = PhantomSpec(anatomy_seed=4, hardware=("bridge", "implants"))
    first, again = (restoration_parts(spec, LINE, up=True) + restoration_parts(spec, LINE, up=False) for _ in range(2))
    assert first and all(np.array_equal(a.polygon, b.polygon) for a, b in zip(first, again))


def test_bridges_span_several_teeth_and_stay_at_the_teeth():
    widths = []
    for seed in range(20):
        spec = PhantomSpec(anatomy_seed=seed, hardware=("bridge",))
        for part in restoration_parts(spec, LINE, up=True):
            x, y = part.polygon.T
            assert part.material == "metal" and x.min() > -10 and x.max() < 160 and y.min() > 160 and y.max() < 260
            widths.append(np.ptp(x))
    assert max(widths) > 60


def test_a_bridge_is_as_dark_as_a_bolus_and_has_no_mask():
    spec = PhantomSpec(rows=160, cols=160, anatomy_seed=3, swallows=(), field="none", dose=1e9, hardware=())
    (plain, before), (bridged, after) = (
        PhantomStudy(spec.replace(hardware=hardware)).frame(0) for hardware in ((), ("bridge",))
    )
    darker = plain.astype(int) - bridged > 60
    assert darker.sum() > 50
    assert not after[NAMES.index("bolus")].any()
    for name in ("mandible", "epiglottis", "c2"):
        np.testing.assert_array_equal(before[NAMES.index(name)], after[NAMES.index(name)])
