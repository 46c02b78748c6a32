"""The PCA picture shows what is planted in the features, where it is."""

import numpy as np
import pytest
import torch
from PIL import Image

from monai_agglo.data.pca_picture import pca_colours, pca_picture, write_pca_picture
from monai_agglo.networks.teachers import FrameGrid, TeacherFeatures


def planted(frame=(60, 120), geometry="letterbox", side=16, count=2):
    """12 channels: one direction on the left half of the frame, another on the right, garbage in padding."""
    fit = FrameGrid.fit(frame, geometry, 64)
    mask, affine = fit.mask(side), fit.affine(side)
    generator = torch.Generator().manual_seed(0)
    features = 0.05 * torch.randn(count, 12, side, side, generator=generator)
    left = (affine[1, 1] * torch.arange(side) + affine[1, 2]) < frame[1] / 2
    features[:, 3] += 2.0 * left
    features[:, 7] += 2.0 * ~left
    features = torch.where(mask >= 0.5, features, torch.full_like(features, 50.0))
    return TeacherFeatures(features, affine, mask)


@pytest.mark.parametrize("geometry", ["letterbox", "squash", "pad_square"])
def test_halves_differ_and_padding_does_not_count(geometry):
    colours, share = pca_colours(planted(geometry=geometry), (60, 120), (30, 60))
    assert colours.shape == (2, 30, 60, 3) and colours.dtype == np.uint8
    left, right = colours[:, 4:-4, :26].astype(float), colours[:, 4:-4, 34:].astype(float)
    assert abs(left[..., 0].mean() - right[..., 0].mean()) > 150  # the first component is the planted difference
    assert left[..., 0].std() < 25 and right[..., 0].std() < 25
    assert share > 0.9


def test_signs_are_fixed():
    output = planted()
    flipped = output._replace(features=output.features.flip(0))
    one, other = (pca_colours(o, (60, 120), (30, 60))[0] for o in (output, flipped))
    assert np.abs(one.astype(int) - other[::-1].astype(int)).max() <= 1


def test_features_without_variance_are_drawn():
    output = planted()
    colours, _ = pca_colours(output._replace(features=torch.zeros_like(output.features)), (60, 120), (30, 60))
    assert np.isfinite(colours).all()


def test_nan_is_refused():
    output = planted()
    with pytest.raises(ValueError, match="NaN"):
        pca_colours(output._replace(features=output.features * torch.nan), (60, 120), (30, 60))


def test_page_and_file(tmp_path):
    frames = np.random.default_rng(0).random((2, 60, 120), np.float32)
    page = pca_picture(frames, planted(), ["a", "b"], title="t", warning="RANDOM", side=96)
    plain = pca_picture(frames, planted(), ["a", "b"], title="t", side=96)
    assert page.shape[1] == 4 * (96 + 12) and page.shape[0] > plain.shape[0]  # two pairs a row; the warning has a line
    write_pca_picture(tmp_path / "x.png", frames, planted(), [0, 5], 9, title="t")
    assert np.asarray(Image.open(tmp_path / "x.png")).shape[2] == 3 and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match="2 frames, features of 1"):
        pca_picture(frames, planted(count=1))
