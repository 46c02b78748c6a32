"""PNG masks of stills: label maps, palettes, single structures in black and white, invalid files."""

import numpy as np
import pytest
from PIL import Image

from monai_agglo.cine.masks import read_cine_masks
from monai_agglo.cine.png_masks import png_shape, read_png_masks

SQUARE = (24, 24, 1)  # rows and columns cannot be distinguished by shape


def labels(height=24, width=24):
    """C3 at the top, bolus at the bottom left."""
    array = np.zeros((height, width), np.uint8)
    array[2:5, 4:20] = 5
    array[15:22, 1:4] = 12
    return array


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
@pytest.mark.parametrize("size", [(24, 24), (20, 30)])
def test_structure_ids(tmp_path, mode, size):
    drawn = labels(*size)
    image = Image.fromarray(drawn.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image = Image.fromarray(drawn)
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
        assert image.mode == "P"
    image.save(tmp_path / "a.png")
    masks = read_cine_masks(tmp_path / "a.png", (*size, 1))
    assert masks.shape == (12, *size, 1) and png_shape(tmp_path / "a.png") == (*size, 1)
    np.testing.assert_array_equal(masks[4, :, :, 0], drawn == 5)
    np.testing.assert_array_equal(masks[11, :, :, 0], drawn == 12)
    assert masks.sum() == (drawn > 0).sum()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_single_structure_in_black_and_white(tmp_path, mode):
    drawn = labels() == 12
    Image.fromarray(np.where(drawn, 255, 0).astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    masks = read_cine_masks(tmp_path / "a.png", SQUARE, only="bolus")
    np.testing.assert_array_equal(masks[11, :, :, 0], drawn)
    assert masks.sum() == drawn.sum()
    with pytest.raises(ValueError, match="a.png: a black and white mask shows one structure; give its name"):
        read_cine_masks(tmp_path / "a.png", SQUARE)


def test_empty_mask(tmp_path):
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(tmp_path / "a.png")
    assert not read_cine_masks(tmp_path / "a.png", SQUARE, only="bolus").any()
    assert not read_cine_masks(tmp_path / "a.png", SQUARE).any()


def test_invalid_files(tmp_path):
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(tmp_path / "colours.png")
    Image.fromarray(np.full((24, 24), 77, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(labels()).save(tmp_path / "jpeg.png", format="JPEG")
    Image.fromarray(labels()).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    reasons = {
        "colours": "one number per pixel, not colours",
        "grey": "label value 77 is not a structure id",
        "jpeg": "this is not a PNG file",
        "cut": "cannot be read as masks",
        "absent": "No such file",
    }
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=f"{reason}.*{name}.png|{name}.png: .*{reason}"):
            read_cine_masks(tmp_path / f"{name}.png", SQUARE)
    with pytest.raises(ValueError, match="24 x 24 pixels and 1 frames do not belong"):
        read_cine_masks(tmp_path / "good.png", (24, 24, 3))
    with pytest.raises(ValueError, match="unknown structure 'tongue'"):
        Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "white.png")
        read_png_masks(tmp_path / "white.png", "tongue")
