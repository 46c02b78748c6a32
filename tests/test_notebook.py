"""The code cells of notebooks/tour.ipynb run, one after the other, in one fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import monai_agglo

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "notebooks" / "tour.ipynb"
RUN = """
import json, sys
names = {"__name__": "__main__"}
for number, cell in enumerate(json.load(open(sys.argv[1], encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
"""


@pytest.fixture(scope="module")
def toured(tmp_path_factory):
    """What the notebook printed, and the folder that it ran in."""
    if not hasattr(monai_agglo, "agglomerate"):
        pytest.skip("this version has no agglomerate yet")
    folder = tmp_path_factory.mktemp("tour")
    env = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "MONAI_AGGLO_HOME": str(folder / "home")}
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(TOUR)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, folder / "tour"


def test_the_cine_is_segmented_and_reported(toured):
    for name in ("masks.nii.gz", "overlay.mp4", "contact_sheet.png", "report.html", "measurements.json"):
        assert (toured[1] / "result" / name).is_file()


def test_the_student_is_marked_as_random(toured):
    card = json.loads((toured[1] / "student" / "student.json").read_text(encoding="utf-8"))
    assert card["random"] is True
    assert "random teachers: True" in toured[0]


def test_the_loaded_student_has_a_feature_map(toured):
    assert toured[0].rstrip().endswith("(1, 48, 16, 16)")


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(TOUR.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
