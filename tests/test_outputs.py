"""Result folders: foreign files are kept and partial results removed."""

import json
import os
import time

import pytest

from monai_agglo.files import write_json
from monai_agglo.outputs import check_output, is_ours, keep_settings, result_folder

RECORD = {"kind": "monai_agglo.predict"}


def write_results(folder, mark):
    (folder / "masks.nii.gz").write_text(mark)
    (folder / "overlay.mp4").write_text(mark)
    write_json(folder / "predict.json", {**RECORD, "mark": mark})


def test_folder_appears_when_complete(tmp_path):
    output = check_output(tmp_path / "deep" / "out")
    with result_folder(output) as work:
        write_results(work, "a")
        assert not output.exists()
    assert sorted(p.name for p in output.iterdir()) == ["masks.nii.gz", "overlay.mp4", "predict.json"]
    assert [p.name for p in output.parent.iterdir()] == ["out"]
    if os.name == "posix":
        assert output.stat().st_mode & 0o700 == 0o700


def test_second_run_replaces_all_results(tmp_path):
    output = tmp_path / "out"
    with result_folder(output) as work:
        write_results(work, "a")
        (work / "contact_sheet.png").write_text("a")
    (output / "my notes.txt").write_text("mine")
    with result_folder(check_output(output)) as work:
        write_results(work, "b")
    assert sorted(p.name for p in output.iterdir()) == ["masks.nii.gz", "my notes.txt", "overlay.mp4", "predict.json"]
    assert json.loads((output / "predict.json").read_text())["mark"] == "b"
    assert (output / "my notes.txt").read_text() == "mine"


def test_error_keeps_old_results(tmp_path):
    output = tmp_path / "out"
    with result_folder(output) as work:
        write_results(work, "a")
    with pytest.raises(RuntimeError), result_folder(output) as work:
        write_results(work, "b")
        raise RuntimeError
    assert (output / "masks.nii.gz").read_text() == "a"
    with pytest.raises(KeyboardInterrupt), result_folder(tmp_path / "other") as work:
        write_results(work, "b")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(ValueError, match="--overwrite"):
        check_output(tmp_path)
    with pytest.raises(ValueError, match="not a file"):
        check_output(tmp_path / "thesis.doc")
    with result_folder(check_output(tmp_path, overwrite=True)) as work:
        write_results(work, "a")
    assert (tmp_path / "thesis.doc").read_text() == "x"
    assert (tmp_path / "masks.nii.gz").read_text() == "a"


def test_foreign_record_of_the_same_name(tmp_path):
    (tmp_path / "predict.json").write_text('{"kind": "something else"}')
    (tmp_path / "data.csv").write_text("1")
    assert not is_ours(tmp_path)
    (tmp_path / "predict.json").write_text("[1")
    assert not is_ours(tmp_path)


def test_interrupted_runs_and_batches_are_ours(tmp_path):
    assert is_ours(tmp_path)
    (tmp_path / "masks.nii.gz").write_text("x")  # no record
    assert is_ours(tmp_path)
    (tmp_path / "case").mkdir()
    write_results(tmp_path / "case", "a")
    assert is_ours(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    assert not is_ours(tmp_path)


def test_leftovers_of_killed_runs_are_removed_after_a_day(tmp_path):
    old, fresh = tmp_path / ".out.0000.part", tmp_path / ".out.1111.part"
    for folder in (old, fresh):
        folder.mkdir()
        (folder / "masks.nii.gz").write_text("x")
    then = time.time() - 2 * 86_400
    os.utime(old, (then, then))
    with result_folder(tmp_path / "out") as work:
        write_results(work, "a")
    assert not old.exists() and fresh.exists()


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_settings_are_kept_and_other_ones_refused(tmp_path):
    path = tmp_path / "new" / "settings.json"
    keep_settings(path, {"steps": 3, "zoom": (1, 2)}, "study")
    before = path.read_bytes()
    keep_settings(path, {"steps": 3, "zoom": (1, 2)}, "study")
    with pytest.raises(ValueError, match="new holds a study with other steps, zoom: choose another folder"):
        keep_settings(path, {"steps": 4}, "study")
    assert path.read_bytes() == before
