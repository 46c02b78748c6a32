"""Real teachers on real images, where they are: a few steps from end to end."""

import os
from pathlib import Path

import mlflow
import pytest

from monai_agglo.networks import read_student
from monai_agglo.networks.teachers import find_weights, teacher_class

from .distill import ROOT, run, small

TEACHERS = ("dinov2_small", "mobilenet_v3")


def test_real_teachers_and_images(tmp_path, monkeypatch):
    """The card names weights, images and their licences; MLflow has losses, weights and retention of every teacher."""
    shared = Path(os.environ.get("AGGLO_SHARED") or ROOT.parent / "shared")
    folder = shared / "data" / "us_breast_busbra" / "images"
    places = [shared / "weights", *(Path(p) for p in os.environ.get("AGGLO_WEIGHTS", "").split(os.pathsep) if p)]
    missing = [name for name in TEACHERS if find_weights(teacher_class(name).spec, places) is None]
    if missing or not folder.is_dir():
        pytest.skip(f"no real images or no weights of {', '.join(missing) or 'teachers'} (AGGLO_SHARED, AGGLO_WEIGHTS)")
    options = {"dataset_dir": str(folder), "per_folder": 5, "frame_size": 256, "teachers": list(TEACHERS)}
    options |= {"random_weights": False, "image_size": 160, "epochs": 2, "data#phantom_options": None}
    monkeypatch.setenv("AGGLO_WEIGHTS", os.pathsep.join(map(str, places)))
    run("train", **small(tmp_path, tmp_path / "none", **options))
    _, card = read_student(tmp_path / "student.safetensors")
    assert not card["random"] and "warning" not in card and not (tmp_path / "none").exists()
    for sheet in card["teachers"]:
        assert not sheet["random_weights"] and not sheet["weights_hash"].startswith("random-") and sheet["licence"]
    (licence,) = card["data"]["licences"].values()
    assert list(card["data"]["licences"]) == ["us_breast_busbra"] and licence in (
        folder.parent / "SOURCE.md"
    ).read_text(encoding="utf-8")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlruns.db'}")
    (record,) = client.search_runs([client.get_experiment_by_name("agglo_distill").experiment_id])
    for name in TEACHERS:
        for kind in ("loss", "weight", "gradient_norm", "r2", "cosine"):
            steps = client.get_metric_history(record.info.run_id, f"{kind}/{name}")
            assert len(steps) == 2, (kind, name)  # one per epoch
        assert record.data.params[f"teacher/{name}/weights_hash"] == card_hash(card, name)
        assert record.data.params[f"teacher/{name}/random_weights"] == "False"
    assert record.data.params["random"] == "False" and record.info.status == "FINISHED"


def card_hash(card, name):
    return next(sheet["weights_hash"] for sheet in card["teachers"] if sheet["name"] == name)
