"""Detection of the exposed field, and blanking of burnt-in text outside it."""

import numpy as np
import pytest

from monai_agglo.cine.exposed_field import blank_outside, exposed_field
from monai_agglo.phantom import PhantomSpec, PhantomStudy


@pytest.mark.parametrize("field", ["circle", "rectangle", "both"])
def test_field_of_phantoms(field):
    spec = PhantomSpec.sample(11, rows=128, cols=128, field=field, burnt_in_text="DOE JANE", photometric="MONOCHROME2")
    study = PhantomStudy(spec)
    frames = [study.frame(t)[0] for t in (0, 8, 16)]
    truth = study.field_mask
    found = exposed_field(frames)
    assert found is not None
    for frame, blanked in zip(frames, blank_outside(frames, found)):
        changed = frame != blanked  # a shoulder as dark as the border may be outside
        assert (changed & truth).sum() < 0.01 * truth.sum(), "part of the field is blanked"
        assert np.ptp(frame[~truth]) > 500 and np.ptp(blanked[~found]) == 0
        written = (frame > 0.3 * frame.max()) & ~truth
        assert not (written & ~changed).any(), "the text is still legible"


def test_no_field_without_a_border():
    rng = np.random.default_rng(0)
    frames = [rng.normal(2000, 100, (64, 64)) for _ in range(3)]
    assert exposed_field(frames) is None
    assert next(iter(blank_outside(frames, None))) is frames[0]
    assert exposed_field([np.zeros((64, 64))]) is None
    assert exposed_field([]) is None


def test_bright_border_is_kept():
    """A bright border is unattenuated beam; objects in it (a spoon) are not blanked."""
    frame = np.full((64, 64), 4000.0)
    frame[16:48, 16:48] = 1000
    frame[2:6, 2:30] = 500
    assert exposed_field([frame]) is None


def test_moving_text_is_blanked():
    frames = []
    for t in range(4):
        frame = np.zeros((80, 80), np.uint8)
        frame[20:70, 20:70] = 100 + 10 * t
        frame[3:7, 5 + 5 * t : 25 + 5 * t] = 255
        frames.append(frame)
    field = exposed_field(frames)
    assert field[20:70, 20:70].all() and not field[:12].any()
    assert all(not frame[:12].any() for frame in blank_outside(frames, field))
