"""Figures come from the report and from nowhere else."""

import json
from pathlib import Path

import pytest

from monai_agglo.bundle import publish
from monai_agglo.bundle.doctor import sha256
from monai_agglo.bundle.results import begin_mark, end_mark

ROOT = Path(__file__).parents[2]
REPORT = {
    "data": "phantom",
    "seed": 7,
    "patients": 3,
    "mean_dice": 0.8126,
    "mean_dice_ci95": [0.8, 0.8249],
    "dice_is": "mean over patients",
    "per_structure": {
        "bolus": {"dice": 0.9, "hd95_px": 2.04, "frames": 31, "false_positive_area_pct": 0.0126},
        "c1": {"dice": None, "hd95_px": None, "frames": 0},
    },
    "command": "python -m x",
}


@pytest.fixture
def clone(tmp_path):
    """A folder laid out like a clone, with a report not yet published."""
    for folder in ("docs/results", "bundles/vfss_seg/configs", "bundles/vfss_seg/docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docs/results/vfss_seg.json").write_text(json.dumps(REPORT))
    metadata = {"version": "1", "eval_metrics": {"mean_dice": 0}}
    (tmp_path / "bundles/vfss_seg/configs/metadata.json").write_text(json.dumps(metadata))
    for page, name in (("README.md", "summary"), ("bundles/vfss_seg/docs/README.md", "vfss_seg")):
        (tmp_path / page).write_text(f"before\n{begin_mark(name)}\nold\n{end_mark(name)}\nafter\n")
    return tmp_path


def test_the_project_s_own_figures_are_the_report_s():
    assert publish(ROOT, check=True) == [], "run: python -m monai_agglo results"


def test_the_figures_are_those_of_the_shipped_weights():
    report = json.loads((ROOT / "docs" / "results" / "vfss_seg.json").read_text(encoding="utf-8"))
    assert report["weights_sha256"] == sha256(ROOT / "bundles" / "vfss_seg" / "models" / "model.pt")


def test_check_writes_nothing(clone):
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
    assert len(publish(clone, check=True)) == 3
    assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before


def test_publish_writes_metadata_and_tables(clone):
    assert len(publish(clone)) == 3
    assert publish(clone, check=True) == []
    metadata = json.loads((clone / "bundles/vfss_seg/configs/metadata.json").read_text())
    assert metadata["version"] == "1"
    assert metadata["eval_metrics"]["mean_dice"] == 0.8126
    assert metadata["eval_metrics"]["dice_bolus"] == 0.9
    assert metadata["eval_metrics"]["dice_c1"] is None
    text = (clone / "bundles/vfss_seg/docs/README.md").read_text()
    assert "| Bolus | 0.900 | 2.0 | 31 | 0.013 |" in text
    assert "| C1 vertebra | - | - | 0 | - |" in text
    assert "| **mean** | **0.813** (0.800 to 0.825) | | | **-** |" in text
    assert "Dice: mean over patients. In brackets its 95 % interval: bootstrap over patients." in text
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text


def test_the_front_page_has_the_mean_and_its_extremes(clone):
    publish(clone)
    text = (clone / "README.md").read_text()
    assert "held-out synthetic patients | **0.813** (95 % CI 0.800 to 0.825) |" in text
    assert "| highest: Bolus | 0.900 |" in text
    assert "C1 vertebra" not in text, "a structure without a score is neither best nor worst"
    assert "frames/s" not in text


def test_an_edited_figure_is_found(clone):
    publish(clone)
    readme = clone / "README.md"
    readme.write_text(readme.read_text().replace("0.813", "0.913"))
    assert publish(clone, check=True) == [readme]


def test_no_report(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the evaluation first"):
        publish(tmp_path)


def test_incomplete_report(clone):
    (clone / "docs/results/vfss_seg.json").write_text('{"seed": 1}')
    with pytest.raises(ValueError, match="lacks data, patients, mean_dice"):
        publish(clone)


def test_missing_markers(clone):
    (clone / "README.md").write_text("no table here\n")
    with pytest.raises(ValueError, match=r"README.md lacks the lines"):
        publish(clone)


BENCH = {
    "targets": [
        {
            "name": "DICOM to masks, fp32",
            "measured": 31.24,
            "target": 30,
            "sense": ">=",
            "unit": "frames/s",
            "met": True,
        },
        {"name": "Dice lost by int8", "measured": None, "target": 0.3, "sense": "<=", "unit": "points", "met": None},
    ],
    "computer": {"cores": 2, "processor": "TestCPU", "instructions": "AVX2"},
    "data": "synthetic cines",
    "end_to_end_fps": {"fp32": 31.24},
    "peak_mb": {},
    "encoder_ratio": {"medsam": 492.8},
    "quick": False,
    "encoder_ratio_is": "",
    "command": "python -m y",
}


def test_the_benchmark_s_figures_are_published_where_it_has_been_run(clone):
    (clone / "docs/results/bench.json").write_text(json.dumps(BENCH))
    with pytest.raises(FileNotFoundError, match=r"targets.md to write the results into"):
        publish(clone)
    targets = clone / "docs/reference/targets.md"
    targets.parent.mkdir()
    targets.write_text(f"more\n{begin_mark('bench')}\nold\n{end_mark('bench')}\nend\n")
    assert {clone / "README.md", targets} < set(publish(clone))
    assert publish(clone, check=True) == []
    text = targets.read_text()
    assert "| DICOM to masks, fp32 (frames/s) | 31.2 | at least 30 | met |" in text
    assert "| Dice lost by int8 (points) | - | at most 0.3 | not measured |" in text
    assert "TestCPU" in text and "`python -m y`" in text and text.endswith("end\n") and "old" not in text
    front = (clone / "README.md").read_text()
    assert "| DICOM file to masks, 2 cores of TestCPU | 31.2 frames/s |" in front
    assert "| encoder speed relative to MedSAM's image encoder | 493 times |" in front
    assert "peak memory" not in front, "what was not measured is left out"
    targets.write_text(text.replace("31.2", "61.2"))
    assert publish(clone, check=True) == [targets]
    (clone / "docs/results/bench.json").write_text(json.dumps(BENCH | {"quick": True}))
    with pytest.raises(ValueError, match="figures of a quick run"):
        publish(clone)
