import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from study_samples import write_set

from monai_agglo.distill.probes.sources import SOURCES, find_pairs, licence, may_ship, read_masks, source_of
from monai_agglo.distill.probes.splits import check_leakage, split
from monai_agglo.distill.probes.tasks import PictureSize, check_copies, load_tasks, square

SHARED = Path(os.environ.get("AGGLO_SHARED") or Path(__file__).parents[4] / "shared")
SIZE = PictureSize(96, 96)


@pytest.fixture(scope="module")
def tasks(tiny_data, tmp_path_factory):
    return load_tasks(tiny_data, SIZE, tmp_path_factory.mktemp("prepared"), phantom=(5, 1))


def test_no_source_in_two_parts(tasks):
    for task in tasks.values():
        parts = {}
        for source, part in zip(task.sources, task.parts, strict=True):
            parts.setdefault(source, set()).add(part)
        assert all(len(own) == 1 for own in parts.values())
        if not task.left_out:
            assert set(task.parts) == {"train", "val", "test"}
            assert all(len({task.sources[i] for i in task.indices(p)}) >= 2 for p in ("val", "test"))


def test_both_images_of_a_case_go_together(tasks):
    assert Counter(tasks["us_breast_busbra"].sources).most_common()[-1][1] == 2


def test_a_set_without_a_task_is_for_distillation_only(tasks):
    aorta = tasks["ct_aorta"]
    assert set(aorta.parts) == {"train"} and "one scan" in aorta.describe()
    assert aorta.shippable and not tasks["us_breast_busbra"].shippable


def test_frames_and_masks_fit(tasks):
    task = tasks["cxr_lung_shenzhen_montgomery"]
    assert task.frames.shape == (12, 96, 96) and task.masks.shape == (12, 1, 96, 96)
    assert set(np.unique(task.masks)) == {0, 1}
    inside, outside = task.frames[task.masks[:, 0] == 1].mean(), task.frames[task.masks[:, 0] == 0].mean()
    assert inside > outside + 60  # bright discs: mask and frame are padded and scaled alike


def test_phantom_has_twelve_structures(tasks):
    phantom = tasks["phantom"]
    assert phantom.masks.shape == (5, 12, 96, 96) and len(set(phantom.sources)) == 5
    assert phantom.masks.sum((0, 2, 3)).astype(bool).sum() > 8


def test_second_reading_is_the_first(tasks, tiny_data, tmp_path):
    once = load_tasks(tiny_data, SIZE, tmp_path, ["us_breast_busbra"])["us_breast_busbra"]
    (kept,) = tmp_path.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:-100])  # cut off: made again
    again = load_tasks(tiny_data, SIZE, tmp_path, ["us_breast_busbra"])["us_breast_busbra"]
    assert np.array_equal(once.frames, again.frames) and once.parts == again.parts == tasks["us_breast_busbra"].parts


def test_split_does_not_depend_on_order():
    sources = [f"p{n // 3}" for n in range(30)]
    parts = dict(zip(sources, split("x", sources)))
    mixed = sources[::-1]
    assert dict(zip(mixed, split("x", mixed))) == parts
    assert split("x", sources, seed=1) != split("x", sources)


def test_split_keeps_large_sources_for_training():
    parts = split("x", ["big"] * 14 + ["a", "b", "c", "d", "e", "f"])
    assert parts[0] == "train" and parts.count("val") >= 2 and parts.count("test") >= 2


def test_split_refuses_too_few_sources():
    with pytest.raises(ValueError, match="too few"):
        split("x", ["a", "b", "b", "c"])


def test_leak_is_found():
    with pytest.raises(ValueError, match="source b is in train and in test"):
        check_leakage("x", ["a", "b", "b"], ["train", "train", "test"])
    frames = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="copy"):
        check_copies("x", frames, ["train", "test"])


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("CC0 (README)", True),
        ("CC BY 4.0 (README)", True),
        ("CC BY 4.0 (*)", False),
        ("CC BY-SA 4.0 (README; MSD)", False),
        ("CC BY-NC 4.0", False),
        ("Repo: MIT. Data: free to use (*)", False),
        ("none stated", False),
    ],
)
def test_what_may_be_shipped(words, allowed):
    assert may_ship(words) is allowed


def test_bad_sets_are_refused(tmp_path):
    folder = tmp_path / "us_breast_busbra"
    write_set(folder, ["benign_0001-l.png", "benign_x.png"], "CC0")
    with pytest.raises(ValueError, match="does not tell"):
        [source_of(image, folder) for image, _ in find_pairs(folder)]
    (folder / "masks" / "benign_x.png").unlink()
    with pytest.raises(FileNotFoundError, match="has no mask"):
        find_pairs(folder)
    with pytest.raises(ValueError, match="no tasks other"):
        load_tasks(tmp_path, SIZE, tmp_path, ["other"])
    (folder / "SOURCE.md").unlink()
    with pytest.raises(FileNotFoundError, match="licence"):
        licence(folder)


def test_square_pads_evenly():
    picture = np.full((2, 4), 200, np.uint8)
    assert np.array_equal(square(picture, 4)[:, 0], [0, 200, 200, 0])
    assert np.array_equal(square(picture, 2), [[100, 100], [100, 100]])


@pytest.mark.parametrize("name", SOURCES)
def test_real_sets(name):
    """Names of the real files tell their sources, and the split of each has no leak."""
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no {folder} (AGGLO_SHARED)")
    about, pairs = SOURCES[name], find_pairs(folder)
    sources = [source_of(image, folder) for image, _ in pairs]
    if not about.left_out and not about.parts:
        parts = split(name, sources)
        check_leakage(name, sources, parts)
        assert min(Counter(parts).values()) >= 4
    if name == "ct_aorta":
        assert set(sources) == {"10002"}
    expected = {
        "ct_aorta",
        "fundus_disc_cup_drishti",
        "mr_lumbar_spine",
        "mr_nasopharyngeal_carcinoma",
        "us_carotid_ccaus",
    }
    assert may_ship(licence(folder)) is (name in expected)
    masks = read_masks(pairs[0][1], name)
    assert len(masks) == len(about.structures) and 0 < masks[0].mean() < 0.6
    if name == "fundus_disc_cup_drishti":
        disc, cup = masks
        assert not (cup & ~disc).any() and 0 < cup.sum() < disc.sum()
