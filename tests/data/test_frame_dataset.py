"""The frame store survives kills and damage, and a sample depends only on seed, epoch and number."""

import json
import multiprocessing
import os
import pickle
import time
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, LoadImaged
from monai.utils import set_determinism

from monai_agglo.data import (
    CineFrameDataset,
    CineReader,
    EpochBatchSampler,
    LoadCineMasksd,
    PackCined,
    RandCineGeometryd,
    RandFluoroscopyd,
    ScaleCineIntensityd,
    UnpackCined,
    frame_dataset,
    frame_store,
)
from monai_agglo.data.frame_store import describe_transform, file_hash

ROWS, COLS, FRAMES = 24, 32, 6


def write_case(folder, name, frames=FRAMES, drawn=(0, 1, 2, 3, 4, 5), **extra):
    """A cine whose frame t is brighter than the one before, columns first as ITK writes it; the bolus is a block."""
    folder.mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(sum(name.encode()))
    image = rng.integers(0, 200, (ROWS, COLS, 1)) + 300 * np.arange(frames)
    masks = np.zeros((ROWS, COLS, frames, 12), np.uint8)
    masks[4:9, 6:16, list(drawn), 11] = 1
    image = image.astype(np.uint16).transpose(1, 0, 2)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([-1.0, -1, 1, 1])), folder / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(masks, None), folder / f"{name}_masks.nii.gz")
    paths = {"image": str(folder / f"{name}.nii.gz"), "label": str(folder / f"{name}_masks.nii.gz")}
    return {**paths, "patient_id": f"p-{name}", **extra}


def steps(*varying, **reader):
    fixed = [
        LoadImaged("image", reader=CineReader(**reader), ensure_channel_first=True),
        LoadCineMasksd("label"),
        ScaleCineIntensityd("image"),
        PackCined(),
    ]
    return Compose([*fixed, *varying, UnpackCined()])


def augmented():
    return steps(RandCineGeometryd(size=32), RandFluoroscopyd(1.0))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    return [write_case(folder, name) for name in "abc"]


@pytest.fixture(scope="module")
def store(tmp_path_factory, cases):
    """A store that holds the cases already; tests that change it copy it or take their own."""
    folder = tmp_path_factory.mktemp("store")
    CineFrameDataset(cases, steps(), folder)
    return folder


def fork():
    return multiprocessing.get_context("fork")


def slow_at(name, seconds=60):
    """A LoadCineMasksd.__call__ that takes its time with some cases."""
    whole = LoadCineMasksd.__call__

    def call(self, data):
        time.sleep(seconds if name in data["label"] else 0)
        return whole(self, data)

    return call


def entries(folder):
    return sorted(p.name.split(".")[0] for p in Path(folder).rglob("*.json"))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in ("image", "label"))


class TestSamples:
    def test_frames_and_masks_are_those_of_the_files(self, cases, store):
        data = CineFrameDataset(cases, steps(), store)
        assert len(data) == 3 * FRAMES and data.samples[FRAMES + 2] == (1, 2)
        sample = data[FRAMES + 2]
        cine = np.asarray(nibabel.load(cases[1]["image"]).dataobj).transpose(1, 0, 2).astype(float)
        assert sample["image"].shape == (1, ROWS, COLS, 1) and sample["label"].shape == (12, ROWS, COLS, 1)
        low, high = np.percentile(cine, [0.5, 99.5])
        expected = ((cine[..., 2] - low) / (high - low)).clip(0, 1)
        np.testing.assert_allclose(sample["image"][0, ..., 0], expected, atol=0.5 / 255 + 1e-5)
        expected = np.zeros((12, ROWS, COLS))
        expected[11, 4:9, 6:16] = 1
        np.testing.assert_array_equal(sample["label"][..., 0], expected)

    def test_a_clip_is_centred_and_repeats_the_ends(self, cases, store):
        data = CineFrameDataset(cases, steps(), store, clip=4)
        levels = np.stack([data[t]["image"].mean((0, 1, 2)).numpy() for t in range(FRAMES)])
        frames = np.searchsorted(np.sort(np.unique(levels.round(3))), levels.round(3))
        assert frames.tolist() == [
            [0, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 5], [4, 5, 5, 5],
        ]  # fmt: skip

    def test_whole_cines_and_evenly_spaced_frames(self, cases, store):
        whole = CineFrameDataset(cases, steps(), store, clip=None)
        assert len(whole) == 3 and whole[1]["image"].shape == (1, ROWS, COLS, FRAMES)
        assert (whole[1]["patient_id"], whole[1]["case"]) == ("p-b", 1)
        some = CineFrameDataset(cases, steps(), store, clip=None, max_frames=3)[1]["image"]
        assert torch.equal(some, whole[1]["image"][..., [0, 2, 5]])  # 0, 2.5 (to even), 5

    def test_without_cases_others_are_used_and_it_is_said(self, cases, store, caplog):
        """MONAI Label gives an empty list of validation cases while few cines are labelled."""
        data = CineFrameDataset([], steps(), store, clip=None, instead=cases[:2])
        assert len(data) == 2 and "no cases to validate on: the training's own 2 are used" in caplog.text
        assert len(CineFrameDataset(cases, steps(), store, clip=None, instead=cases[:2])) == 3
        with pytest.raises(ValueError, match="no cases"):
            CineFrameDataset([], steps(), store, instead=[])

    def test_partial_labels(self, tmp_path):
        case = write_case(tmp_path, "part", labelled_structures=["bolus", "c2"], labelled_frames=[1, 4])
        data = CineFrameDataset([case], steps(), tmp_path / "store")
        assert data.samples == [(0, 1), (0, 4)]
        label = data[0]["label"]
        assert [s for s in range(12) if (label[s] != 255).all()] == [3, 11]
        assert (label[[s for s in range(12) if s not in (3, 11)]] == 255).all()
        whole = CineFrameDataset([case], steps(), tmp_path / "store", clip=None)[0]["label"]
        assert (whole[11, 0, 0] != 255).nonzero().flatten().tolist() == [1, 4]
        two = CineFrameDataset([case], steps(), tmp_path / "store", clip=None, max_frames=2)[0]["label"]
        assert (two[11] != 255).all()  # labelled frames are preferred

    def test_a_case_without_labels_is_left_out_of_training(self, tmp_path, cases, caplog):
        blank = write_case(tmp_path, "blank", labelled_frames=[])
        data = CineFrameDataset([blank, cases[0]], steps(), tmp_path / "store")
        assert {case for case, _ in data.samples} == {1} and "p-blank has no labelled frame" in caplog.text
        with pytest.raises(ValueError, match="no case .* has a labelled frame"):
            CineFrameDataset([blank], steps(), tmp_path / "store")

    def test_draws_per_case_differ_within_an_epoch_and_between_epochs(self, cases, store):
        data = CineFrameDataset(cases, steps(), store, frames_per_case=4)
        assert len(data) == 12
        draws = [[data._choose(data.info[0], epoch, 0, n, FRAMES)[0] for n in range(4)] for epoch in range(1, 30)]
        assert all(len(set(row)) == 4 for row in draws) and len({tuple(row) for row in draws}) > 20
        counts = Counter(frame for row in draws for frame in row)
        assert set(counts) == set(range(FRAMES)) and min(counts.values()) > 8

    def test_the_size_follows_the_epoch(self, cases, store):
        data = CineFrameDataset(cases, augmented(), store, sizes=[[3, 48], [1, 32]])
        assert [data.size_at(epoch) for epoch in (0, 1, 2, 3, 9)] == [32, 32, 32, 48, 48]
        assert data[(1, 0)]["image"].shape[1:3] == (32, 32) and data[(3, 0)]["image"].shape[1:3] == (48, 48)
        assert "size" not in data[(3, 0)]

    def test_indices(self, cases, store):
        data = CineFrameDataset(cases, augmented(), store)
        assert same(data[-1], data[len(data) - 1]) and same(data[(0, 3)], data[3])
        assert [same(a, data[i]) for a, i in zip(data[2:4], (2, 3))] == [True, True]
        with pytest.raises(IndexError):
            data[len(data)]


class TestDeterminism:
    def test_order_and_global_generators_do_not_matter(self, cases, store):
        data = CineFrameDataset(cases, augmented(), store, frames_per_case=2)
        set_determinism(0)
        first = {i: data[(2, i)] for i in range(len(data))}
        set_determinism(9)
        data[(7, 1)]
        assert all(same(first[i], data[(2, i)]) for i in reversed(range(len(data))))
        set_determinism(None)

    def test_epoch_seed_and_number_matter(self, cases, store):
        data = CineFrameDataset(cases, augmented(), store)
        other = CineFrameDataset(cases, augmented(), store, seed=1)
        assert not same(data[(1, 0)], data[(2, 0)])
        assert not same(data[(1, 0)], other[(1, 0)])

    def test_worker_processes_give_the_same(self, cases, store):
        data = CineFrameDataset(cases, augmented(), store)
        sampler = EpochBatchSampler(data, 3, seed=5)
        runs = [list(DataLoader(data, batch_sampler=sampler, num_workers=n)) for n in (0, 2)]
        assert len(runs[0]) == len(runs[1]) == 6
        assert all(same(a, b) for a, b in zip(*runs))


class TestStore:
    def test_found_again_and_not_prepared_twice(self, cases, store, monkeypatch):
        monkeypatch.setattr(LoadCineMasksd, "__call__", None)  # calling it would fail
        assert len(CineFrameDataset(cases, augmented(), store)) == 18

    def test_a_changed_transform_label_or_reader_makes_a_new_entry(self, tmp_path):
        case = write_case(tmp_path / "c", "x")
        folder = tmp_path / "store"
        first = CineFrameDataset([case], steps(), folder)
        assert len(entries(folder)) == 1
        CineFrameDataset([case], steps(rescale=True), folder)
        assert len(entries(folder)) == 2
        changed = Compose(
            [ScaleCineIntensityd("image", high=90) if i == 2 else s for i, s in enumerate(steps().transforms)]
        )
        CineFrameDataset([case], changed, folder)
        assert len(entries(folder)) == 3
        CineFrameDataset([{**case, "labelled_frames": [0]}], steps(), folder)
        assert len(entries(folder)) == 4
        again = CineFrameDataset([write_case(tmp_path / "c", "x", drawn=(0,))], steps(), folder)
        assert len(entries(folder)) == 5
        assert first[3]["label"].sum() == 50 and again[3]["label"].sum() == 0
        assert first.data_hash != again.data_hash

    def test_the_hash_of_the_data_does_not_depend_on_order_or_names(self, tmp_path, cases, store):
        data = CineFrameDataset(cases, steps(), store)
        assert CineFrameDataset(cases[::-1], steps(), store).data_hash == data.data_hash
        renamed = [{**case, "image": str(tmp_path / f"{i}.nii.gz")} for i, case in enumerate(cases)]
        for old, new in zip(cases, renamed):
            os.link(old["image"], new["image"])
        assert CineFrameDataset(renamed, steps(), store).data_hash == data.data_hash

    def test_the_patient_is_the_datalists_even_for_equal_files(self, cases, store):
        twins = [{**cases[0], "patient_id": "one"}, {**cases[0], "patient_id": "two"}]
        data = CineFrameDataset(twins, steps(), store, clip=None)
        assert [data[i]["patient_id"] for i in range(2)] == ["one", "two"]

    def test_nothing_of_a_patient_is_kept(self, store):
        text = "".join(p.read_text() for p in store.rglob("*.json"))
        assert "p-a" not in text and "nii" not in text

    def test_arrays_stay_open_and_do_not_travel(self, cases, store, monkeypatch):
        monkeypatch.setattr(frame_store, "MOST_OPEN", 2)
        data = CineFrameDataset(cases, steps(), store)
        assert data.store.kept(data.keys[0], "image") is data.store.kept(data.keys[0], "image")
        for key in data.keys:
            np.testing.assert_array_equal(data.store.kept(key, "image"), data.store.array(key, "image"))
        assert [key for key, _ in data.store._open] == list(data.keys[-2:])
        copy = pickle.loads(pickle.dumps(data))
        assert copy.store._open == {} and same(copy[3], data[3])

    @pytest.mark.parametrize("harm", ["truncated", "empty", "gone", "json", "other"])
    def test_a_damaged_entry_is_made_again(self, tmp_path, cases, caplog, harm):
        good = CineFrameDataset(cases[:1], steps(), tmp_path)[2]
        (image,), (label,), (info,) = (list(tmp_path.rglob(f"*{end}")) for end in ("image.npy", "label.npy", ".json"))
        if harm == "truncated":
            os.truncate(image, image.stat().st_size - 1000)
        elif harm == "empty":
            os.truncate(label, 0)
        elif harm == "gone":
            label.unlink()
        elif harm == "json":
            info.write_text(info.read_text()[:20])
        else:
            np.save(label, np.zeros((2, ROWS, COLS), np.uint16))
        assert same(CineFrameDataset(cases[:1], steps(), tmp_path)[2], good)
        assert "is damaged and is rebuilt" in caplog.text

    def test_killed_in_the_middle_and_continued(self, tmp_path, monkeypatch):
        many = [write_case(tmp_path / "c", f"case{i}") for i in range(5)]
        reference = CineFrameDataset(many, steps(), tmp_path / "reference")
        store = tmp_path / "store"
        with monkeypatch.context() as patch:
            patch.setattr(LoadCineMasksd, "__call__", slow_at("case3"))
            process = fork().Process(target=CineFrameDataset, args=(many, steps(), store))
            process.start()
            deadline = time.monotonic() + 100
            while len(entries(store)) < 3 and time.monotonic() < deadline and process.is_alive():
                time.sleep(0.02)
            process.kill()
            process.join()
        done = {p: p.stat().st_mtime_ns for p in store.rglob("*.npy")}
        assert len(entries(store)) == 3 and len(done) == 6
        continued = CineFrameDataset(many, steps(), store)
        assert len(entries(store)) == 5 and all(p.stat().st_mtime_ns == when for p, when in done.items())
        assert all(same(continued[i], reference[i]) for i in range(len(reference)))

    def test_two_processes_prepare_what_one_does(self, tmp_path, cases, store, monkeypatch):
        monkeypatch.setattr(frame_dataset, "get_context", lambda kind: fork())  # spares two imports of torch
        data = CineFrameDataset(cases, steps(), tmp_path, workers=2)
        assert entries(tmp_path) == entries(store)
        assert same(data[4], CineFrameDataset(cases, steps(), store)[4])

    def test_an_error_does_not_wait_for_the_other_cases(self, tmp_path, cases, monkeypatch):
        monkeypatch.setattr(frame_dataset, "get_context", lambda kind: fork())
        monkeypatch.setattr(LoadCineMasksd, "__call__", slow_at("many", 0.1))
        bad = write_case(tmp_path / "c", "bad", frames=3, drawn=())
        others = [write_case(tmp_path / "c", f"many{i}") for i in range(20)]
        with pytest.raises(ValueError, match=r"bad_masks.nii.gz: masks of 24 x 32 pixels and 3 frames do not belong"):
            CineFrameDataset([{**bad, "image": cases[0]["image"]}, *others], steps(), tmp_path / "store", workers=1)
        assert len(entries(tmp_path / "store")) < 15

    def test_what_is_wrong_with_a_case_is_one_sentence(self, tmp_path, cases):
        wrong = write_case(tmp_path, "short", frames=3, drawn=())
        wrong["image"] = cases[0]["image"]
        with pytest.raises(
            ValueError, match=r"^\S*short_masks.nii.gz: masks of 24 x 32 pixels and 3 frames do not belong"
        ):
            CineFrameDataset([wrong], steps(), tmp_path / "store")
        named = write_case(tmp_path, "named", labelled_structures=["tongue"])
        with pytest.raises(ValueError, match=r"named_masks.nii.gz: unknown structure 'tongue'; known: epiglottis"):
            CineFrameDataset([named], steps(), tmp_path / "store")
        assert entries(tmp_path / "store") == []

    def test_nothing_to_do_and_nothing_to_cut(self, tmp_path, cases):
        with pytest.raises(ValueError, match="no cases"):
            CineFrameDataset([], steps(), tmp_path)
        with pytest.raises(ValueError, match="PackCined"):
            CineFrameDataset(cases, Compose([LoadImaged("image")]), tmp_path)


class TestDescriptions:
    def test_functions_sets_and_values_without_attributes(self):
        plain, other = describe_transform(lambda x: x + 1), describe_transform(lambda x: x + 2)
        assert plain != other and plain == describe_transform(lambda x: x + 1)
        assert describe_transform({"b", "a", "c"}) == ["a", "b", "c"]
        assert describe_transform(torch.float16) != describe_transform(torch.float32)
        assert describe_transform(np.arange(3)) != describe_transform(np.arange(1, 4))
        json.dumps(describe_transform(Compose([LoadImaged("image", reader=CineReader(frames=slice(0, 4)))])))

    def test_options_of_a_reader_are_part_of_it(self):
        told = [describe_transform(LoadImaged("image", reader=r)) for r in (CineReader(), CineReader(voi=True))]
        assert told[0] != told[1] and told[0] == describe_transform(LoadImaged("image", reader=CineReader()))

    def test_hash_of_a_folder(self, tmp_path):
        (tmp_path / "a").write_bytes(b"12")
        (tmp_path / "b").write_bytes(b"3")
        # SHA-256 of "123"
        assert file_hash(tmp_path) == "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"
        with pytest.raises(FileNotFoundError):
            file_hash(tmp_path / "c")
