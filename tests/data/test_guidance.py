"""Prompts become channels where they belong, and what does not fit is refused in a sentence."""

import pytest
import torch
from monai.data import MetaTensor

from monai_agglo.data import AddPromptGuidanced


def image(rows=20, cols=30, frames=1):
    return MetaTensor(torch.rand(1, rows, cols, frames), meta={"filename_or_obj": "x"})


def test_box_and_points_of_a_still():
    given = image()
    done = AddPromptGuidanced()(
        {"image": given, "box": [4, 5, 9, 11], "foreground": [[7, 8]], "background": [[29, 0], [0, 19]]}
    )["image"]
    assert done.shape == (3, 20, 30, 1) and done.dtype == torch.float32 and done.meta["filename_or_obj"] == "x"
    assert torch.equal(done[:1], given)
    box = torch.zeros(20, 30)
    box[5:12, 4:10] = 1  # corners included
    assert torch.equal(done[1, ..., 0].as_tensor(), box)
    points = torch.zeros(20, 30)
    points[8, 7], points[0, 29], points[19, 0] = 1, -1, -1
    assert torch.equal(done[2, ..., 0].as_tensor(), points)


def test_prompts_of_a_cine_as_monai_label_sends_them():
    done = AddPromptGuidanced()({"image": image(frames=4), "foreground": [[7, 8, 2]], "background": [[1, 1, 3]]})
    where = done["image"][2].as_tensor().nonzero().tolist()
    assert where == [[1, 1, 3], [8, 7, 2]] and not done["image"][1].any()


def test_frame_of_the_data_counts_where_a_prompt_names_none():
    done = AddPromptGuidanced()({"image": image(frames=4), "frame": 3, "box": [[0, 0, 2, 2], [1, 1, 5, 5, 1]]})
    assert done["image"][1].as_tensor().any(0).any(0).tolist() == [False, True, False, True]


def test_box_is_cut_to_the_image_and_rounded_to_pixels():
    done = AddPromptGuidanced()({"image": image(), "box": [-3.2, 4.6, 99, 7.4]})["image"][1, ..., 0].as_tensor()
    rows, cols = done.nonzero(as_tuple=True)
    assert (int(rows.min()), int(rows.max()), int(cols.min()), int(cols.max())) == (5, 7, 0, 29)


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({}, "nothing is prompted"),
        ({"foreground": [], "background": []}, "nothing is prompted"),
        ({"box": [9, 5, 4, 11]}, "x0 <= x1"),
        ({"box": [40, 5, 50, 11]}, "outside the image of 30 x 20"),
        ({"box": [1, 2, 3]}, "give numbers x0, y0, x1, y1"),
        ({"box": "1,2,3,4"}, "list of numbers"),
        ({"box": [1, 2, float("nan"), 4]}, "give numbers"),
        ({"box": [[1, 2, 3, 4], [5, 5, 6, 6]]}, "more than one box"),
        ({"box": [1, 2, 3, 4, 1]}, "there is no frame 1"),
        ({"foreground": [[30, 2]]}, "outside the image"),
        ({"foreground": [[3, 2]], "background": [[3, 2]]}, "foreground and background at once"),
    ],
)
def test_bad_prompts(prompts, words):
    with pytest.raises(ValueError, match=words):
        AddPromptGuidanced()({"image": image(), **prompts})


def test_a_cine_needs_a_frame():
    with pytest.raises(ValueError, match="on which of the 3 frames"):
        AddPromptGuidanced()({"image": image(frames=3), "box": [1, 2, 3, 4]})


def test_resized_images_are_refused():
    with pytest.raises(ValueError, match=r"\(1, H, W, T\)"):
        AddPromptGuidanced()({"image": torch.rand(3, 20, 30, 1), "box": [1, 2, 3, 4]})
