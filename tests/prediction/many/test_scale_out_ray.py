"""A real Ray cluster on this computer, with a worker killed in the middle of a cine."""

import importlib.util
import sys

import numpy as np
import pytest
from app_samples import write_cine
from test_scale_out import OPTIONS, folders_in, masks_in, summary_in

from monai_agglo.__main__ import main
from monai_agglo.prediction.many import predict_many
from monai_agglo.prediction.run import predict

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'monai-agglo[ray]'"
)


@needs_ray
def test_a_killed_worker_s_cine_is_taken_over_on_ray(tmp_path, killing_bundle, random_bundle, capsys):
    (tmp_path / "in").mkdir()
    paths = [write_cine(tmp_path / "in" / f"{number}.dcm", 8, 40, 48, seed=number) for number in range(2)]
    (tmp_path / "in" / "bad.dcm").write_bytes(paths[0].read_bytes()[:-900])
    command = ["predict", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--engine", "ray", "--workers", "2"]
    command += ["--bundle", str(killing_bundle), "--device", "cpu", "--runtime", "torch"]
    assert main(command) == 1  # the bad one
    printed = capsys.readouterr().out
    assert "2 of 3 segmented, 1 taken over from killed workers" in printed and "cut off" in printed
    assert (tmp_path / "killed").exists() and not list((tmp_path / "out").glob(".*.part"))
    summary = summary_in(tmp_path / "out")
    assert (summary["engine"], summary["done"], summary["failed"], summary["taken_over"]) == ("ray", 2, 1, 1)
    for path in paths:
        predict(path, tmp_path / "one", random_bundle, **OPTIONS)
        wanted = masks_in(tmp_path / "one")
        assert any(np.array_equal(masks_in(folder), wanted) for folder in folders_in(tmp_path / "out"))
    # all is done: no cluster is started for a second run
    report = predict_many(tmp_path / "in", tmp_path / "out", killing_bundle, engine="ray", **OPTIONS)
    assert (report.done, report.kept, len(report.failed)) == (0, 2, 1)


def test_without_ray_it_says_what_to_install(tmp_path, random_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_cine(tmp_path / "cine.dcm", 2)
    with pytest.raises(ImportError, match=r"ray is not installed; install the extra: pip install 'monai-agglo\[ray\]'"):
        predict_many(tmp_path, tmp_path / "out", random_bundle, engine="ray", **OPTIONS)
    assert not (tmp_path / "out").exists()
