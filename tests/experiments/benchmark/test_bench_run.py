import json

import pytest
from bench_suites import suites as finished

from experiments.benchmark import run as running
from experiments.benchmark.__main__ import main
from experiments.benchmark.run import SUITES, bench
from monai_agglo.phantom.truth import GENERATOR_VERSION


@pytest.fixture
def called(monkeypatch):
    """Suites that give results at once; the names of those that ran."""
    calls = []

    def suite(name, context):
        calls.append(name)
        return {key: value for key, value in finished()[name].items() if key not in ("fingerprint", "command")}

    monkeypatch.setattr(running, "_suite", suite)
    monkeypatch.setattr(running, "draw_plots", lambda report, folder: [])  # a second each time
    monkeypatch.setattr(running, "fingerprint", lambda quick: f"place {quick}-code 1")
    return calls


def test_a_run_is_kept_suite_by_suite_and_goes_on(tmp_path, called, monkeypatch):
    whole = running._suite

    def killed(name, context):
        if name == "reading":
            raise KeyboardInterrupt
        return whole(name, context)

    monkeypatch.setattr(running, "_suite", killed)
    with pytest.raises(KeyboardInterrupt):
        bench(output=tmp_path, work=tmp_path)
    content = json.loads((tmp_path / "bench.json").read_text())
    assert (
        list(content["suites"]) == ["start_up", "encoders", "segmenters", "precision"] and content["complete"] is False
    )
    assert content["dicom_read_fps"] == {} and content["encoder_ratio"]["medsam"] == 400.0
    assert "Not complete" in (tmp_path / "bench.md").read_text()
    monkeypatch.setattr(running, "_suite", whole)
    report = bench(output=tmp_path, work=tmp_path)
    assert called == list(SUITES), "what was done was not done again"
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["complete"] is True and report.exit_code == 0 and content["peak_mb"]["3000"] == 520.0
    assert "Not complete" not in (tmp_path / "bench.md").read_text()


def test_a_complete_run_starts_anew_and_other_code_does_too(tmp_path, called, monkeypatch):
    bench(output=tmp_path, work=tmp_path)
    bench(output=tmp_path, work=tmp_path)
    assert called == 2 * list(SUITES)
    monkeypatch.setattr(running, "fingerprint", lambda quick: "place False-code 2")
    bench(["reading"], tmp_path, work=tmp_path)
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["complete"] is True and content["one_code"] is False
    assert "newer code" in (tmp_path / "bench.md").read_text()
    monkeypatch.setattr(running, "fingerprint", lambda quick: "place 2-code 2")
    bench(["reading"], tmp_path, work=tmp_path)
    assert json.loads((tmp_path / "bench.json").read_text())["complete"] is False
    del called[:]
    bench(output=tmp_path, work=tmp_path)
    assert called == [name for name in SUITES if name != "reading"]


def test_a_suite_that_fails_is_named_and_the_others_go_on(tmp_path, called, monkeypatch):
    whole = running._suite
    broken = {"error": "ValueError: no"}
    monkeypatch.setattr(running, "_suite", lambda name, c: broken if name == "growth" else whole(name, c))
    report = bench(output=tmp_path, work=tmp_path)
    assert report.failed == {"growth": "ValueError: no"} and report.exit_code == 1 and "failed: growth" in str(report)
    assert "growth" not in json.loads((tmp_path / "bench.json").read_text())["suites"]


def test_what_no_time_is_left_for_is_named(tmp_path, called):
    report = bench(output=tmp_path, work=tmp_path, budget_minutes=0.1)
    assert report.missing == tuple(SUITES) and report.exit_code == 1 and not called


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"suites": ["sorting"]}, "there is no suite 'sorting'"),
        ({"budget_minutes": 0}, "budget-minutes must be above 0"),
    ],
)
def test_bad_arguments(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        bench(output=tmp_path, **options)


def test_a_foreign_file_is_left_alone(tmp_path):
    (tmp_path / "bench.json").write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="is no file of this benchmark"):
        bench(output=tmp_path, work=tmp_path)
    assert (tmp_path / "bench.json").read_text() == '{"mine": 1}'


def test_fingerprint_changes_with_the_kind_of_run():
    assert running.fingerprint(True) != running.fingerprint(False)
    assert running.fingerprint(True) == running.fingerprint(True)


def test_command(tmp_path, capsys):
    """The real thing, one suite of it, in small."""
    options = ["--quick", "--suite", "reading", "--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        str(tmp_path / "out" / f"bench.{kind}") for kind in ("json", "md")
    ]
    made = {path.relative_to(tmp_path / "work").parts[0] for path in (tmp_path / "work").rglob("*.dcm")}
    assert made == {f"phantom_{GENERATOR_VERSION}"}, "another phantom makes other cines"
    content = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert content["quick"] is True and content["complete"] is False
    assert content["command"] == "python -m experiments.benchmark --suite reading --quick"
    assert len(content["dicom_read_fps"]) == 8 and min(content["dicom_read_fps"].values()) > 0
    row = next(row for row in content["targets"] if row["name"] == "reading a JPEG cine")
    assert row["measured"] == content["dicom_read_fps"]["JPEG baseline"]
    assert "| JPEG baseline |" in (tmp_path / "out" / "bench.md").read_text()
