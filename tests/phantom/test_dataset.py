"""A data set: split by patient, the same for any number of processes, resumable, never mixed."""

import collections
import json
import shutil
import time

import pytest

from monai_agglo.phantom import PhantomStudy, dataset, make_dataset
from monai_agglo.phantom.dataset import patient_specs, split_patients

FAST = {"size": 64, "frames": 2, "progress": False, "n_frames": 6}


def content(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".phantom.lock"
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    return make_dataset(folder, 5, seed=7, processes=2, studies=2, splits=(0.6, 0.2, 0.2), **FAST)


def test_datalist(made):
    from monai.data import load_decathlon_datalist

    listed = json.loads(made.read_text())
    assert "ynthetic" in listed["description"] and listed["labels"]["12"] == "bolus"
    patients = collections.defaultdict(set)
    for split, count in (("training", 6), ("validation", 2), ("test", 2)):
        items = load_decathlon_datalist(str(made), data_list_key=split)
        assert len(items) == count
        for item in items:
            assert (made.parent / item["truth"]).is_file()
            patients[split].add(item["patient_id"])
    assert sum(map(len, patients.values())) == 5 == len(set.union(*patients.values()))


def test_our_own_reader_of_datalists_takes_it(made):
    from monai_agglo.data import load_datalist

    assert len(load_datalist(made.parent, "training")) == 6


def test_number_of_processes_does_not_matter(made, tmp_path):
    make_dataset(tmp_path, 5, seed=7, processes=1, studies=2, splits=(0.6, 0.2, 0.2), **FAST)
    assert content(tmp_path) == content(made.parent)


def test_goes_on_where_it_was(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made.parent, folder)
    studies = sorted(folder.glob("phantom-*/study-*"))
    shutil.rmtree(studies[1])
    (studies[2] / "truth.json").unlink()  # not whole
    (studies[1].parent / ".study-1.dead.part").mkdir()
    kept = studies[0] / "cine.dcm"
    before = kept.stat().st_mtime_ns
    time.sleep(0.01)
    make_dataset(folder, 5, seed=7, processes=1, studies=2, splits=(0.6, 0.2, 0.2), **FAST)
    assert content(folder) == content(made.parent)
    assert kept.stat().st_mtime_ns == before and not list(folder.rglob("*.part"))


def test_grows(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made.parent, folder)
    make_dataset(folder, 6, seed=7, processes=1, studies=2, **FAST)
    listed = json.loads((folder / "datalist.json").read_text())
    assert sum(len(listed[k]) for k in ("training", "validation", "test")) == 12
    before, after = content(made.parent), content(folder)
    assert all(after[name] == data for name, data in before.items() if name != "datalist.json")


def test_never_mixes_two_kinds(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made.parent, folder)
    with pytest.raises(ValueError, match=r"other parameters \(frames, studies\)"):
        make_dataset(folder, 2, seed=7, processes=1, studies=1, **{**FAST, "frames": 1})
    assert content(folder) == content(made.parent)
    make_dataset(folder, 2, seed=7, processes=1, studies=1, overwrite=True, **{**FAST, "frames": 1})
    assert len(list(folder.glob("*/*/truth.json"))) == 2


def test_a_newer_generator_is_another_kind(made, monkeypatch):
    monkeypatch.setattr(dataset, "GENERATOR_VERSION", "next")
    with pytest.raises(ValueError, match="generator_version"):
        make_dataset(made.parent, 5, seed=7, processes=1, studies=2, **FAST)


def test_failing_study_is_named_and_the_others_stay(tmp_path, monkeypatch):
    whole = PhantomStudy.frame
    bad = patient_specs(7, 2, 1, rows=64, cols=64, view="lateral", n_frames=6)[0].seed

    def frame(self, t):
        if self.spec.seed == bad:
            raise ValueError("the jaw is broken")
        return whole(self, t)

    monkeypatch.setattr(PhantomStudy, "frame", frame)
    with pytest.raises(RuntimeError, match=r"phantom-7-00002/study-1 \(seed \d+\) failed: the jaw is broken"):
        make_dataset(tmp_path, 4, seed=7, processes=1, **FAST)
    assert len(list(tmp_path.glob("*/*/truth.json"))) == 2
    assert not (tmp_path / "datalist.json").exists() and not list(tmp_path.rglob("*.part"))


def test_bad_arguments(tmp_path):
    for wrong, sentence in (
        ({"patients": 0}, "at least one patient"),
        ({"frames": 0}, "at least 1, not 0"),
        ({"splits": (0.5, 0.2, 0.2)}, "sum to 1"),
        ({"processes": 0}, "must be at least 1, not 0"),
        ({"patient_id": "x"}, "leave patient_id out"),
        ({"transfer_syntax": "zip"}, "choose one of"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make_dataset(tmp_path / "x", **{"patients": 1, **FAST, **wrong})


def test_too_small_a_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda _: collections.namedtuple("Usage", "free")(1000))
    with pytest.raises(OSError, match="0.0 GB are free"):
        make_dataset(tmp_path, 1, processes=1, **FAST)


def test_disk_estimate_is_near_the_truth(tmp_path, made):
    """For whole frames; tiny ones are all header."""
    task = {
        "spec": patient_specs(0, 0, rows=256, cols=256)[0].to_dict(), "frames": 3,
        "syntax": "1.2.840.10008.1.2.4.80", "folder": str(tmp_path / "s"),
    }  # fmt: skip
    dataset.make_study(task)
    size = sum(p.stat().st_size for p in (tmp_path / "s").iterdir() if p.name != "truth.json")
    assert 0.4 < dataset._bytes_of(task) / size < 2.5


@pytest.mark.parametrize("patients", [1, 2, 3, 4, 10, 24, 101])
def test_splits(patients):
    names = split_patients(patients, 3, (0.7, 0.15, 0.15))
    assert len(names) == patients == len(split_patients(patients, 4, (0.7, 0.15, 0.15)))
    counts = collections.Counter(names)
    if patients >= 3:
        assert set(counts) == {"training", "validation", "test"}
    if patients >= 20:
        assert abs(counts["training"] - 0.7 * patients) <= 1 and abs(counts["test"] - 0.15 * patients) <= 1
    assert names == split_patients(patients, 3, (0.7, 0.15, 0.15))


def test_two_splits():
    counts = collections.Counter(split_patients(12, 1, (0.67, 0.33, 0.0)))
    assert counts == {"training": 8, "validation": 4}


def test_who_goes_where_depends_on_the_seed():
    assert len({tuple(split_patients(20, seed, (0.7, 0.15, 0.15))) for seed in range(4)}) == 4


def test_studies_of_a_patient_share_the_anatomy():
    a, b = patient_specs(0, 4, 2)
    other = patient_specs(0, 5)[0]
    for name in ("patient_id", "anatomy_seed", "age", "build", "hardware"):
        assert getattr(a, name) == getattr(b, name)
    assert a.seed != b.seed and a.kvp != b.kvp and a.swallows != b.swallows
    assert other.patient_id != a.patient_id and other.anatomy_seed != a.anatomy_seed
    assert patient_specs(0, 4, 1)[0] == a


def test_swallows_can_be_set_for_all(tmp_path):
    from monai_agglo.phantom import SwallowSpec

    options = {**FAST, "swallows": (SwallowSpec(onset_s=0.2),), "processes": 1}
    path = make_dataset(tmp_path, 1, **options)
    truth = json.loads((tmp_path / json.loads(path.read_text())["training"][0]["truth"]).read_text())
    assert [s["quantities"]["volume_ml"] for s in truth["swallows"]] == [5.0]
    assert make_dataset(tmp_path, 1, **options) == path, "the same again is no other kind"
