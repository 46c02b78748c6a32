import numpy as np

from monai_agglo.phantom import PhantomSpec, PhantomStudy
from monai_agglo.phantom.video_export import through_video


def test_no_export_changes_nothing():
    shown = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    assert through_video(shown, 0.5, 0) is shown


def test_an_export_loses_detail_and_keeps_the_level():
    shown = np.full((64, 80), 0.4, np.float32)
    shown[::2, ::2] = 0.6
    out = through_video(shown, 0.5, 50)
    assert out.shape == shown.shape and out.dtype == np.float32
    assert out.std() < 0.3 * shown.std() and abs(out.mean() - shown.mean()) < 0.02


def test_outside_the_field_stays_black():
    spec = PhantomSpec.sample(3, rows=128, cols=128, field="circle", photometric="MONOCHROME2", burnt_in_text=None)
    study = PhantomStudy(spec.replace(video_scale=0.5, video_quality=40))
    image, _ = study.frame(0)
    # a coarsely quantised block of black may come back one grey value brighter
    assert np.median(image[~study.field_mask]) <= 0.01 * ((1 << spec.bits_stored) - 1)
