"""A study's record: the whole report comes out of it, a study goes on from it, and a hostile one does nothing."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from study_samples import tiny_settings

from experiments.agglo_study import command
from experiments.agglo_study.plan import StudySettings
from experiments.agglo_study.record import RECORD, restore_record, write_record
from experiments.agglo_study.report import write_report
from experiments.agglo_study.runner import Study


@pytest.fixture
def record(finished_study, tmp_path):
    path = tmp_path / "record.zip"
    write_record(finished_study[0].folder, path)
    return path


@pytest.fixture
def published():
    """The folder of the report in docs, with its record."""
    folder = Path(__file__).parents[3] / "docs" / "results"
    if not (folder / RECORD).is_file():
        pytest.skip("no study has left a record yet")
    return folder


def opened(data, folder):
    return Study(tiny_settings(), data, folder, log=lambda text: None)


def packed(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def _without_times(result):
    if not isinstance(result, dict):
        return result
    return {name: _without_times(value) for name, value in result.items() if "seconds" not in name}


def test_the_whole_report_comes_out_of_a_record(finished_study, tiny_data, tmp_path, record, monkeypatch, capsys):
    write_report(finished_study[0], tmp_path / "first")
    monkeypatch.setattr(command, "StudySettings", tiny_settings)
    arguments = ["--shared", str(tiny_data.parent), "--random-weights", "--report-only", "--report"]
    from_record = ["--from", str(record), "--output", str(tmp_path / "new")]
    command.main([*arguments, str(tmp_path / "second"), *from_record])
    assert f"{len(finished_study[0].store.finished())} results from {record}" in capsys.readouterr().out
    for name in ("agglo_study.md", "agglo_study.json", RECORD):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert (tmp_path / "first" / RECORD).read_bytes() == record.read_bytes()
    with pytest.raises(SystemExit):
        command.main([*arguments, str(tmp_path / "second"), *from_record])
    assert "holds a study already" in capsys.readouterr().err


def test_a_study_goes_on_from_its_record(finished_study, tiny_data, tmp_path, record):
    """A test is lost, and with it goes the student: it is distilled again, features first, to the same scores."""
    study, _ = finished_study
    restore_record(record, tmp_path / "new")
    again = opened(tiny_data, tmp_path / "new")
    cell, task = again.other_students()[0], again.probed[0]
    key = again.probe_key("test", cell, task)
    again.store.path(key).unlink()
    again.run()
    for name in (key, again.distil_key(cell)):
        found, expected = again.store.get(name), study.store.get(name)
        assert _without_times(found) == _without_times(expected)
    assert [path.stem for path in (tmp_path / "new" / "students").glob("*.safetensors")] == [cell.id]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"settings.json": "{}", "../out.json": "{}"}, r"it holds '\.\./out.json'"),
        ({"settings.json": "{}", "/out.json": "{}"}, "it holds '/out.json'"),
        ({"settings.json": "{}", "results/../../out.json": "{}"}, "it holds 'results/"),
        ({"settings.json": "{}", "results/a/.hidden.json": "{}"}, "it holds 'results/"),
        ({"settings.json": "{}", "students/a.pt": "{}"}, "it holds 'students/a.pt'"),
        ({"settings.json": "{}", "results/a/b.json": "no"}, "Expecting value"),
        ({"settings.json": "{}", "results/a/b.json": b"\xff"}, "utf-8"),
        ({"results/a/b.json": "{}"}, "it holds no settings"),
    ],
)
def test_a_hostile_record_writes_nothing(tmp_path, members, reason):
    path = packed(tmp_path / "record.zip", **members)
    with pytest.raises(ValueError, match=f"record.zip is no record of a study .*{reason}"):
        restore_record(path, tmp_path / "new")
    assert [found.name for found in tmp_path.rglob("*")] == ["record.zip"]


def test_what_is_no_archive_is_said(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="gone.zip: there is no such record"):
        restore_record(tmp_path / "gone.zip", tmp_path / "new")
    (tmp_path / "text.zip").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="not a zip file"):
        restore_record(tmp_path / "text.zip", tmp_path / "new")
    monkeypatch.setattr("experiments.agglo_study.record.MOST_BYTES", 3)
    with pytest.raises(ValueError, match="too large"):
        restore_record(packed(tmp_path / "big.zip", **{"settings.json": "{  }"}), tmp_path / "new")


def test_the_record_in_docs_is_of_the_study_as_it_is(published, tmp_path):
    """The plain command goes on from it, whatever has become of the settings' defaults."""
    assert restore_record(published / RECORD, tmp_path / "new") > 0
    kept = json.loads((tmp_path / "new" / "settings.json").read_text(encoding="utf-8"))
    assert kept == StudySettings().as_json()


def test_the_means_in_docs_are_those_of_the_record(published, tmp_path):
    """Worked out here from the scores of every image, and not by the code that wrote the report."""
    restore_record(published / RECORD, tmp_path)
    report = json.loads((published / "agglo_study.json").read_text(encoding="utf-8"))
    means: dict[str, list[float]] = {}
    for cell in (tmp_path / "results" / "test").iterdir():
        name, _, kind = cell.name.partition("-")
        if name in report["methods"] and kind.startswith("efficientvit_b0-all-"):
            tasks = []
            for path in cell.glob("*.json"):
                probes = json.loads(path.read_text(encoding="utf-8"))["probes"].values()
                if path.stem != "phantom":
                    dice = [np.array(row["dice"], float) for row in probes]  # None becomes NaN
                    tasks.append(np.mean([np.nanmean(row) for row in dice]))
            assert len(tasks) == len(report["tasks"])
            means.setdefault(name, []).append(float(np.mean(tasks)))
    assert set(means) == set(report["methods"]) and {len(own) for own in means.values()} == {report["seeds"]}
    for name, row in report["methods"].items():
        assert row["mean_dice"] == pytest.approx(np.mean(means[name]), abs=1e-4)
