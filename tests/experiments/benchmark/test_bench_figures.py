"""Figures, targets, page and plots from results of suites."""

import json

import pytest
from bench_suites import COMPUTER, suites

from experiments.benchmark.files import JPEG
from experiments.benchmark.page import render_page
from experiments.benchmark.plots import draw_plots
from experiments.benchmark.run import write_report
from experiments.benchmark.targets import figures, targets
from monai_agglo.bundle.bench_table import bench_table, number


@pytest.fixture
def report():
    found = figures(suites())
    rows = targets(found, suites(), COMPUTER)
    head = {"computer": COMPUTER, "versions": {"torch": "2.8"}, "complete": True, "one_code": True}
    head |= {"quick": False, "data": "synthetic"}
    return {**head, **found, "targets": rows, "suites": suites(), "command": "python -m experiments.benchmark"}


def test_figures_are_those_of_the_suites(report):
    assert report["end_to_end_fps"] == {"fp32": 25.0, "int8": 40.0}
    assert report["encoder_ms"]["medsam"] == {"1024": 8000.0}
    assert report["encoder_ms"]["efficientvit_b0"] == {"512": 20.0}
    assert report["encoder_fps"] == {"1": pytest.approx(33.3, abs=0.1), "2": 100.0}, "the fastest runtime"
    assert report["encoder_ratio"] == {"litemedsam": 40.0, "mobilesam": 45.0, "medsam": 400.0}
    assert report["encoder_ratio_is"].startswith("pytorch, 2 threads"), "the only runtime with all of them"
    assert report["roofline_fraction"] == pytest.approx(0.55)
    assert report["peak_mb"] == {"300": 500.0, "3000": 520.0} and report["dicom_read_fps"] == {JPEG: 250.0}
    assert report["train_loader_ratio"] == 0.9 and report["int8_dice_loss"] == 0.5


def test_start_up_is_compared_with_the_older_checkout(report):
    assert report["cold_start_cpu_s"] == 3.0 and report["cold_start_ratio"] == pytest.approx(0.15)
    assert report["before"]["cold_start_cpu_s"] == 20.0 and report["before"]["peak_mb"] == {"3000": 1200.0}
    rows = {row["name"]: row["met"] for row in report["targets"]}
    assert rows["fresh process, 30 frames to masks"] is True and rows["wrong path answered"] is False


def test_targets_say_by_how_much_and_why(report):
    rows = {row["name"]: row for row in report["targets"]}
    assert rows["encoder beside LiteMedSAM's"]["met"] is True
    assert rows["memory of predict, 3,000 over 300 frames"]["measured"] == pytest.approx(1.04)
    missed = rows["DICOM to masks, int8"]
    assert missed["met"] is False and missed["measured"] == 40.0 and missed["target"] == 60
    assert "50 frames/s" in missed["bound"] and "no VNNI" in missed["bound"]
    assert "29 frames/s" in rows["DICOM to masks, fp32"]["bound"]
    assert "waits 200 ms" in rows["training step rate with its loader"]["bound"]
    assert "0.20 %" in rows["Dice lost by int8"]["bound"]
    assert all(row["bound"] for row in rows.values() if row["met"] is False)
    assert {row["met"] for row in targets(figures(suites()), suites(), COMPUTER, quick=True)} == {None}


def test_nothing_measured_is_none_and_not_a_failure():
    found = figures({})
    assert found["roofline_fraction"] is None and found["peak_mb"] == {"300": None, "3000": None}
    assert {row["met"] for row in targets(found, {}, COMPUTER)} == {None}


def test_failed_candidates_have_no_figure():
    partial = suites()
    partial["end_to_end"]["settings"] = [{"setting": "torch fp32", "case": "", "reason": "no"}]
    partial["growth"]["frames"][2] = {"frames": 3000, "reason": "not run"}
    found = figures(partial)
    assert found["end_to_end_fps"] == {"fp32": None, "int8": None} and found["memory_growth"] is None


def test_page_has_every_table_and_reason(report):
    text = render_page(report, ["bench_encoders.png"])
    assert "| **efficientvit_b0** | onnxruntime | 2 | 512 |" in text and "100 (90.0 to 110, n=5)" not in text
    assert "10.0 (9.00 to 11.0, n=5)" in text
    assert "OpenVINO is not installed" in text and "einops is missing" in text
    assert "![Encoders](bench_encoders.png)" in text and text.count("\n## ") == 9
    assert "Quick run" not in text and "Not complete" not in text
    assert "Quick run" in render_page(report | {"quick": True})


def test_short_table_is_the_targets(report):
    text = bench_table(report)
    assert "| DICOM to masks, fp32 (frames/s) | 25.0 | at least 30 | missed |" in text
    assert "TestCPU" in text and text.endswith("Measured by `python -m experiments.benchmark`.")
    assert [number(v) for v in (None, 1234.5, 12.34, 1.234, 0.1234)] == ["-", "1,234", "12.3", "1.23", "0.123"]


def test_plots_are_drawn(report, tmp_path):
    names = draw_plots(report, tmp_path)
    assert names == ["bench_encoders.png", "bench_segmenters.png", "bench_end_to_end.png", "bench_growth.png"]
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in names)


def test_written_anew_without_measuring(report, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(report | {"encoder_ms": {}}))
    page = write_report(path)
    again = json.loads(path.read_text())
    assert again["encoder_ms"]["medsam"] == {"1024": 8000.0} and again["computer"] == COMPUTER
    assert again["complete"] is True and page.read_text().startswith("# Benchmark")
