"""The tracker's own rules; what a resumed training does with it is tested with the bundles."""

import subprocess
import sys

import mlflow
from monai.utils import path_to_sqlite_uri


def test_trainings_that_begin_together_share_a_new_database(tmp_path):
    """MLflow makes the tables step by step, and two processes that do so at once break each other's."""
    uri = path_to_sqlite_uri(tmp_path / "with #" / "mlruns.db")
    (tmp_path / "with #").mkdir()
    script = (
        "import pathlib, sys, time; import mlflow; from monai_agglo.handlers import RunTracker\n"
        "here = pathlib.Path(sys.argv[2]); (here / sys.argv[3]).touch()\n"
        "while len(list(here.glob('ready*'))) < 2: time.sleep(0.01)\n"
        "RunTracker(sys.argv[1], experiment_name='x', run_name=sys.argv[3])\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script, uri, str(tmp_path), f"ready{n}"], stderr=subprocess.PIPE)
        for n in range(2)
    ]
    for process in both:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error.decode()[-800:]
    assert mlflow.MlflowClient(uri).search_experiments()
