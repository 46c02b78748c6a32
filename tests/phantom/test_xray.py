import numpy as np
import pytest

from monai_agglo.phantom import PhantomSpec
from monai_agglo.phantom.xray import XraySystem, attenuation_coefficients

PLAIN = PhantomSpec(scatter=0, glare=0, blur_px=0, lag=0, heel=0, field="none", harmonisation=0, sharpening=0)


def step(thin=0.5, thick=2.0):
    image = np.full((128, 128), thin, np.float32)
    image[:, 64:] = thick
    return image


def test_signal_follows_beer_lambert_without_stray_radiation():
    system = XraySystem(PLAIN, step())
    signal = system.signal(step())
    assert signal[10, 100] / signal[10, 10] == pytest.approx(np.exp(-1.5), rel=1e-4)


def test_scatter_and_glare_lower_the_contrast():
    bar = np.full((128, 128), 0.5, np.float32)
    bar[:, 60:68] = 3.0

    def contrast(spec):
        signal = XraySystem(spec, bar).signal(bar)
        return signal[64, 64] / signal[64, 40]

    clean = contrast(PLAIN)
    assert clean == pytest.approx(np.exp(-2.5), rel=1e-3)
    assert contrast(PLAIN.replace(scatter=0.8)) > 2 * clean
    assert contrast(PLAIN.replace(glare=0.1)) > 1.3 * clean


def test_lag_mixes_the_former_frame():
    system = XraySystem(PLAIN.replace(lag=0.25), step())
    first, second = system.signal(step(0.5, 2)), system.signal(step(0.5, 1))
    assert np.allclose(system.signal(step(0.5, 1), first), 0.75 * second + 0.25 * first)


def test_display_is_dark_where_attenuation_is_high():
    for lut in ("log", "linear", "sigmoid"):
        system = XraySystem(PLAIN.replace(lut=lut, dose=1e7), step())
        shown = system.expose(system.signal(step()), np.random.default_rng(0))
        assert shown.min() >= 0 and shown.max() <= 1
        assert shown[:, 80:].mean() < shown[:, :50].mean()


def test_quantum_noise_falls_with_the_square_root_of_dose():
    def noise(dose):
        flat = np.full((128, 128), 1.5, np.float32)
        system = XraySystem(PLAIN.replace(dose=dose, lut="linear"), step())
        return system.expose(system.signal(flat), np.random.default_rng(0))[20:100, 20:100].std()

    assert noise(50) / noise(200) == pytest.approx(2, rel=0.1)


def test_higher_voltage_lowers_bone_more_than_tissue():
    low, high = attenuation_coefficients(60), attenuation_coefficients(95)
    assert low["bone"] / high["bone"] > low["tissue"] / high["tissue"] > 1
    assert low["air"] == -low["tissue"]
