"""The cost model: measured by its command, carried into the page, never typed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE, RESULT = Path("docs", "how-to", "live_and_many.md"), Path("docs", "results", "scale_out.json")


def run(root, *options):
    command = [sys.executable, "-m", "experiments.costs.scale_out_cost", "--root", str(root), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def copy_of_the_page(tmp_path):
    (tmp_path / RESULT).parent.mkdir(parents=True)
    (tmp_path / PAGE).parent.mkdir()
    shutil.copy(ROOT / PAGE, tmp_path / PAGE)
    return tmp_path


def test_the_page_has_the_figures_of_the_measurement(tmp_path):
    root = copy_of_the_page(tmp_path)
    for name in ("scale_out.json", "bench.json"):
        if (ROOT / "docs" / "results" / name).is_file():
            shutil.copy(ROOT / "docs" / "results" / name, root / "docs" / "results" / name)
    done = run(root, "--table-only")
    assert done.returncode == 0, done.stderr
    assert (root / PAGE).read_text(encoding="utf-8") == (ROOT / PAGE).read_text(encoding="utf-8")
    result = json.loads((ROOT / RESULT).read_text(encoding="utf-8"))
    for name in ("with_overlay", "masks_only"):
        cost = result["runs"][name]
        assert cost["studies_per_core_hour"] == pytest.approx(3600 / cost["cpu_seconds_per_study"], rel=0.01)


def test_measuring_in_small(tmp_path, random_bundle):
    root = copy_of_the_page(tmp_path)
    options = ("--studies", "2", "--frames", "4", "--size", "96", "--seed", "3", "--bundle", str(random_bundle))
    done = run(root, *options)
    assert done.returncode == 0, done.stderr
    result = json.loads((root / RESULT).read_text(encoding="utf-8"))
    assert (
        result["data"].startswith("2 phantom studies, up to 4 frames of 96 x 96")
        and "RANDOM" in result["model"]["bundle"]
    )
    assert result["runs"]["masks_only"]["cpu_ms_per_frame"] > 0 and result["gpu"] is None
    page = (root / PAGE).read_text(encoding="utf-8")
    assert f"{result['runs']['with_overlay']['studies_per_core_hour']:.0f} |" in page
    assert "| on a GPU | not measured |" in page and "--seed 3" in page
