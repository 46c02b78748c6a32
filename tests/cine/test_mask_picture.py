"""PNG masks of stills: ids, palettes, one structure in black and white, and what is no label map."""

import numpy as np
import pytest
from PIL import Image

from monai_agglo.cine.mask_picture import picture_shape, read_mask_picture
from monai_agglo.cine.masks import read_cine_masks

SQUARE = (24, 24, 1)  # both orders of the axes fit: only the reader knows which is meant


def labels(height=24, width=24):
    """C3 above, the bolus below and to the left."""
    array = np.zeros((height, width), np.uint8)
    array[2:5, 4:20] = 5
    array[15:22, 1:4] = 12
    return array


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
@pytest.mark.parametrize("size", [(24, 24), (20, 30)])
def test_ids_lie_where_they_were_drawn(tmp_path, mode, size):
    drawn = labels(*size)
    picture = Image.fromarray(drawn.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        picture = Image.fromarray(drawn)
        picture.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
        assert picture.mode == "P"
    picture.save(tmp_path / "a.png")
    masks = read_cine_masks(tmp_path / "a.png", (*size, 1))
    assert masks.shape == (12, *size, 1) and picture_shape(tmp_path / "a.png") == (*size, 1)
    np.testing.assert_array_equal(masks[4, :, :, 0], drawn == 5)
    np.testing.assert_array_equal(masks[11, :, :, 0], drawn == 12)
    assert masks.sum() == (drawn > 0).sum()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white_is_the_structure_that_was_named(tmp_path, mode):
    drawn = labels() == 12
    Image.fromarray(np.where(drawn, 255, 0).astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    masks = read_cine_masks(tmp_path / "a.png", SQUARE, only="bolus")
    np.testing.assert_array_equal(masks[11, :, :, 0], drawn)
    assert masks.sum() == drawn.sum()
    with pytest.raises(ValueError, match="a.png: black and white shows one structure; name it, and it alone"):
        read_cine_masks(tmp_path / "a.png", SQUARE)


def test_an_empty_picture_shows_nothing(tmp_path):
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(tmp_path / "a.png")
    assert not read_cine_masks(tmp_path / "a.png", SQUARE, only="bolus").any()
    assert not read_cine_masks(tmp_path / "a.png", SQUARE).any()


def test_what_is_no_label_map_is_said(tmp_path):
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(tmp_path / "colours.png")
    Image.fromarray(np.full((24, 24), 77, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(labels()).save(tmp_path / "jpeg.png", format="JPEG")
    Image.fromarray(labels()).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    reasons = {
        "colours": "one number per pixel, not colours",
        "grey": "label value 77 is no structure",
        "jpeg": "this is no PNG",
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
        read_mask_picture(tmp_path / "white.png", "tongue")
