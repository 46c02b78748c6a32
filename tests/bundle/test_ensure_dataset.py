"""Only the default folder is ever filled with phantoms."""

import json

import pytest

import monai_agglo.phantom
from monai_agglo.bundle import ensure_dataset


def test_a_users_folder_is_taken_as_it_is(tmp_path):
    (tmp_path / "datalist.json").write_text("{}")
    assert ensure_dataset(tmp_path, tmp_path / "phantom") == str(tmp_path)
    assert not (tmp_path / "phantom").exists()


def test_a_folder_without_a_list_and_a_mistyped_one(tmp_path):
    with pytest.raises(ValueError, match=r"holds no datalist.json; make one with: python -m monai_agglo datalist"):
        ensure_dataset(tmp_path, tmp_path / "phantom")
    with pytest.raises(ValueError, match="there is no folder .*mistyped"):
        ensure_dataset(tmp_path / "mistyped", tmp_path / "phantom")
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_gets_phantoms_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = ensure_dataset(
        "./phantom", tmp_path / "phantom", patients=2, frames=1, size=64, processes=1, splits=[0.5, 0.5, 0]
    )
    content = json.loads((tmp_path / folder / "datalist.json").read_text())
    assert [len(content[part]) for part in ("training", "validation", "test")] == [1, 1, 0]


def test_arguments_reach_the_phantom(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(monai_agglo.phantom, "make_dataset", lambda folder, **options: calls.append(options))
    ensure_dataset(tmp_path, tmp_path, patients=3, seed=7, frames=5, splits=[1, 0, 0], size=96, processes=2, studies=2)
    assert calls == [
        {"patients": 3, "seed": 7, "frames": 5, "splits": (1, 0, 0), "size": 96, "processes": 2, "studies": 2}
    ]
