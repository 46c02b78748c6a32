"""Pictures and masks as people keep them become a task; what does not belong together is said."""

import zlib

import numpy as np
import pytest
from PIL import Image

from monai_agglo.distill.probes.image_task import load_picture_task


def write_pair(root, name, mask_name, values=(255,), rows=40, mode="L", radius=9, seed=None):
    """A picture of noise with bright bars, and their mask; ``values`` are those of the bars."""
    rng = np.random.default_rng(zlib.crc32(name.encode()) if seed is None else seed)
    picture = rng.integers(0, 80, (rows, 50))
    mask = np.zeros((rows, 50) if mode == "L" else (rows, 50, 3), np.uint8)
    for place, value in enumerate(values):
        where = np.s_[5 : 5 + radius, 4 + 14 * place : 14 + 14 * place]
        picture[where] += 120
        mask[where] = value
    for path, array in ((root / name, picture.astype(np.uint8)), (root / mask_name, mask)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def quiet(text):
    pass


def load(root, **options):
    return load_picture_task(root, 64, log=quiet, **options)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.png", "masks/{}.png"),
        ("part/images/{}.jpg", "part/Labels/{}_seg.png"),
        ("{}.bmp", "masks/{}.png"),
        ("{}.png", "{}_mask.png"),
        ("images/{}.tif", "masks/{}_mask.tif"),
    ],
)
def test_masks_are_found_by_name(tmp_path, image, mask):
    for n in range(8):
        write_pair(tmp_path, image.format(f"a{n}"), mask.format(f"a{n}"), seed=n)
    task = load(tmp_path)
    assert (
        task.structures == ("foreground",) and task.frames.shape == (8, 64, 64) and task.masks.shape == (8, 1, 64, 64)
    )
    assert set(task.parts) == {"train", "test"} and task.parts == load(tmp_path).parts
    drawn = task.masks[0, 0].astype(bool)
    assert task.frames[0][drawn].mean() > 2 * task.frames[0][~drawn].mean()
    assert drawn.sum() == pytest.approx(9 * 10 * (64 / 50) ** 2, rel=0.15)


def test_every_value_is_a_structure(tmp_path):
    for n in range(6):
        write_pair(tmp_path, f"images/{n}.png", f"masks/{n}.png", (1, 3) if n else (3, 7))
    task = load(tmp_path)
    assert task.structures == ("value 1", "value 3", "value 7")
    assert task.masks[0].any((1, 2)).tolist() == [False, True, True]
    assert task.masks[1].any((1, 2)).tolist() == [True, True, False] and not (task.masks.sum(1) > 1).any()


def test_colours_are_structures_and_antialiased_masks_are_one(tmp_path):
    for n in range(6):
        write_pair(tmp_path / "a", f"images/{n}.png", f"masks/{n}.png", ((255, 0, 0), (0, 255, 0)), mode="RGB")
        write_pair(tmp_path / "b", f"images/{n}.png", f"masks/{n}.png", ((250, 0, 0), (0, 0, 255)), mode="RGB")
        path = tmp_path / "b" / "masks" / f"{n}.png"
        with Image.open(path) as mask:
            mask.resize((200, 160), Image.Resampling.BICUBIC).resize((50, 40), Image.Resampling.BICUBIC).save(path)
    assert load(tmp_path / "a").structures == ("colour #00ff00", "colour #ff0000")
    soft = load(tmp_path / "b")
    assert soft.structures == ("foreground",)
    assert soft.masks[0].sum() == pytest.approx(2 * 90 * (64 / 50) ** 2, rel=0.15)


def test_a_patient_is_never_in_two_parts(tmp_path):
    for n in range(16):
        write_pair(tmp_path, f"images/p{n // 2}_{n}.png", f"masks/p{n // 2}_{n}.png", seed=n)
    task = load(tmp_path, patient=r"(p\d+)_")
    assert task.split_by == "patient" and len(set(task.sources)) == 8
    for source in set(task.sources):
        assert len({part for own, part in zip(task.sources, task.parts) if own == source}) == 1
    with pytest.raises(ValueError, match="does not find the patient of images/p0_0.png"):
        load(tmp_path, patient=r"(q\d+)")
    with pytest.raises(ValueError, match="into brackets"):
        load(tmp_path, patient=r"p\d+")
    with pytest.raises(ValueError, match="no regular expression"):
        load(tmp_path, patient="(")


def test_folders_of_parts_are_kept(tmp_path):
    for place, (part, count) in enumerate((("train", 3), ("val", 2), ("test", 2))):
        for n in range(count):
            write_pair(tmp_path, f"{part}/images/{n}.png", f"{part}/masks/{n}.png", seed=10 * place + n)
    task = load(tmp_path)
    assert [task.parts.count(part) for part in ("train", "test")] == [5, 2] and task.split_by == "the folders"
    write_pair(tmp_path, "test/images/copy.png", "test/masks/copy.png", seed=0)
    with pytest.raises(ValueError, match="is a copy of one in another part"):
        load(tmp_path)


def test_what_does_not_belong_together_is_said(tmp_path):
    for n in range(6):
        write_pair(tmp_path, f"images/{n}.png", f"masks/{n}.png", seed=n)
    said = []
    Image.new("L", (50, 40)).save(tmp_path / "images" / "alone.png")
    load_picture_task(tmp_path, 64, log=said.append)
    assert said == ["1 pictures have no mask and are left out"]
    Image.new("L", (20, 40), 255).save(tmp_path / "masks" / "3.png")
    with pytest.raises(ValueError, match=r"3.png has 40 x 20 pixels, its picture 40 x 50"):
        load(tmp_path)
    (tmp_path / "masks" / "3.png").write_bytes(b"\x89PNG no")
    with pytest.raises(ValueError, match=r"masks.3.png: cannot be read as a mask"):
        load(tmp_path)
    Image.new("L", (50, 40), 255).save(tmp_path / "masks" / "3.png")
    Image.new("L", (50, 40), 255).save(tmp_path / "masks" / "3_mask.png")
    with pytest.raises(ValueError, match="3.png has several masks: 3.png, 3_mask.png"):
        load(tmp_path)


def test_what_holds_no_task_is_said(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        load(tmp_path / "gone")
    with pytest.raises(ValueError, match="holds no pictures with masks"):
        load(tmp_path)
    for n in range(6):
        write_pair(tmp_path, f"images/{n}.png", f"masks/{n}.png", ())
    with pytest.raises(ValueError, match="nothing is drawn in any of the masks"):
        load(tmp_path)
    with pytest.raises(ValueError, match="multiple of 32"):
        load_picture_task(tmp_path, 50)
    for n in range(3):
        write_pair(tmp_path / "few", f"images/{n}.png", f"masks/{n}.png", seed=n)
    with pytest.raises(ValueError, match="3 sources are too few"):
        load(tmp_path / "few")


def test_deep_pictures_are_seen(tmp_path):
    for n in range(6):
        write_pair(tmp_path, f"images/{n}.png", f"masks/{n}.png", seed=n)
        path = tmp_path / "images" / f"{n}.png"
        with Image.open(path) as image:
            deep = np.asarray(image).astype(np.uint16) * 16 + 5000
        Image.fromarray(deep).save(path)
    frames = load(tmp_path).frames
    assert frames.min() == 0 and frames.max() > 240
